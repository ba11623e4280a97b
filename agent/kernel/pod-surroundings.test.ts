// What is passed over as no concern of the pods here is none: tables that follow changes hold what they would from scratch.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { orlopBackends, orlopPairKey, orlopVipKey } from "../abi.ts";
import type { LentMaps } from "../engine/keeper-client.ts";
import { httpRoute, peerAuthentication, policy, ruleFor, service, workload } from "../mesh/mesh.fake.ts";
import type { MeshUpdate } from "../mesh/mesh-update.ts";
import { MeshStore } from "../mesh/store.ts";
import { judgeOf } from "../policy/evaluate.ts";
import { FakeMap } from "./maps.fake.ts";
import { PairTables } from "./pair-tables.ts";
import type { LocalPod } from "./pair-verdicts.ts";

const names = fc.constantFrom("web", "api", "db");
const namespaces = fc.constantFrom("shop", "bank", "istio-system");
const octet = fc.integer({ min: 1, max: 3 });
const upsert = fc.integer({ min: 0, max: 3 }).map((one) => one > 0);

const anyUpdate: fc.Arbitrary<MeshUpdate> = fc.oneof(
  fc
    .tuple(names, namespaces, octet, names, upsert, fc.boolean())
    .map(([name, namespace, nth, app, op, healthy]): MeshUpdate => {
      const value = workload(name, { namespace, addresses: [`10.0.0.${nth}`], labels: { app }, healthy });
      return op ? { kind: "workload", op: "upsert", value } : { kind: "workload", op: "remove", key: value.uid };
    }),
  fc.tuple(names, namespaces, octet, fc.boolean(), upsert).map(([name, namespace, nth, explicit, op]): MeshUpdate => {
    const endpoints = explicit ? [{ address: `10.0.0.${nth}`, ports: {}, weight: 1, healthy: true }] : [];
    const vips = [nth === 3 ? "10.0.0.1" : `10.96.0.${nth}`];
    const value = service(name, { namespace, vips, selector: explicit ? null : { app: name }, endpoints });
    return op
      ? { kind: "service", op: "upsert", value }
      : { kind: "service", op: "remove", key: `${namespace}/${name}` };
  }),
  fc.tuple(names, namespaces, names, upsert).map(([app, namespace, caller, op]): MeshUpdate => {
    const value = policy("DENY", [ruleFor([`cluster.local/ns/shop/sa/${caller}`])], { namespace, selector: { app } });
    return op
      ? { kind: "authorization-policy", op: "upsert", value }
      : { kind: "authorization-policy", op: "remove", key: `${namespace}/rules` };
  }),
  fc.tuple(namespaces, upsert).map(([namespace, op]): MeshUpdate => {
    const value = peerAuthentication("STRICT", { namespace });
    return op
      ? { kind: "peer-authentication", op: "upsert", value }
      : { kind: "peer-authentication", op: "remove", key: `${namespace}/peers` };
  }),
  fc.tuple(names, namespaces, namespaces, upsert).map(([name, namespace, own, op]): MeshUpdate => {
    const value = httpRoute(`${namespace}/${name}`, { name: "route", namespace: own });
    return op ? { kind: "http-route", op: "upsert", value } : { kind: "http-route", op: "remove", key: `${own}/route` };
  }),
);

const lent: LentMaps = {
  ...{ dst_of_flow: 0, in_by_port: 0, out_by_dst: 0, gate: 0, events: 0, counters: 0, traffic: 0, node_port: 0 },
  ...{ pair_verdict: 1, vip_backends: 2 },
};

/** The keeper's double has answered all that was asked of it. */
const severed = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Tables over two maps in memory, and what the maps hold. */
function tablesOf(mesh: MeshStore): { readonly tables: PairTables; readonly held: () => readonly string[] } {
  const maps = {
    1: new FakeMap({ name: "pair_verdict", keyBytes: orlopPairKey.size, valueBytes: 4 }),
    2: new FakeMap({ name: "vip_backends", keyBytes: orlopVipKey.size, valueBytes: orlopBackends.size }),
  };
  class Lent extends FakeMap {
    constructor(fd: number) {
      super(maps[fd === 1 ? 1 : 2]);
      // biome-ignore lint/correctness/noConstructorReturn: the tables make their maps themselves, and we look into these.
      return maps[fd === 1 ? 1 : 2];
    }
  }
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const tables = new PairTables({ mesh, judge: judgeOf(mesh), NativeMap: Lent, sever: async () => {}, log });
  tables.opened(lent);
  const held = (): string[] =>
    Object.values(maps).flatMap((map) => {
      const bytes = Buffer.from(map.dump());
      const size = map.keyBytes + map.valueBytes;
      return Array.from({ length: bytes.length / size }, (_, at) =>
        bytes.toString("hex", at * size, at * size + size),
      ).sort();
    });
  return { tables, held };
}

/** By pod, its index; 0: it is not captured at the moment. An index may be another pod's next. */
const indices = fc.constantFrom([1, 2, 3], [1, 2, 3], [1, 2, 3], [2, 1, 3], [3, 1, 2], [1, 0, 2], [0, 2, 1]);
const batch = fc.record({ updates: fc.array(anyUpdate, { minLength: 1, maxLength: 3 }), indices });

test("change by change the tables are what they would be from scratch, also where an index becomes another pod's", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(batch, { minLength: 8, maxLength: 30 }), async (batches) => {
      const mesh = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
      const local = ["shop/web", "shop/api", "bank/db"].map((name) => `box//Pod/${name}`);
      mesh.apply([
        { kind: "workload", op: "upsert", value: workload("web", { addresses: ["10.0.0.1"] }) },
        { kind: "workload", op: "upsert", value: workload("api", { addresses: ["10.0.0.2"] }) },
        { kind: "workload", op: "upsert", value: workload("db", { namespace: "bank", addresses: ["10.0.0.3"] }) },
        { kind: "service", op: "upsert", value: service("api") },
      ]);
      const { tables, held } = tablesOf(mesh);
      for (const { updates, indices } of batches) {
        const change = mesh.apply(updates);
        const pods = local.flatMap((uid, nth): LocalPod[] => {
          const [found, podIdx = 0] = [mesh.workload(uid), indices[nth]];
          return found === undefined || podIdx === 0 ? [] : [{ podIdx, workload: found }];
        });
        tables.changed(change, pods);
        // What was joined as another pod is ended before anything is joined as this pod.
        await severed();
        const fresh = tablesOf(mesh);
        fresh.tables.set(pods);
        assert.deepEqual(held(), fresh.held());
        fresh.tables.close();
      }
      tables.close();
    }),
    { numRuns: Number(process.env.ORLOP_RUNS ?? 500) },
  );
});
