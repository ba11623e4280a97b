// What a change of one pod asks for on a node with many, counted: as much work as there are pods, not as there are pairs.
import assert from "node:assert/strict";
import { test } from "node:test";
import { orlopBackends, orlopPairKey, orlopVipKey } from "../abi.ts";
import type { LentMaps } from "../engine/keeper-client.ts";
import { policy, ruleFor, service, workload } from "../mesh/mesh.fake.ts";
import type { MeshUpdate } from "../mesh/mesh-update.ts";
import { MeshStore } from "../mesh/store.ts";
import { judgeOf } from "../policy/evaluate.ts";
import { FakeMap } from "./maps.fake.ts";
import { PairTables } from "./pair-tables.ts";
import type { LocalPod } from "./pair-verdicts.ts";

const lent: LentMaps = {
  ...{ dst_of_flow: 0, in_by_port: 0, out_by_dst: 0, gate: 0, events: 0, counters: 0, traffic: 0, node_port: 0 },
  ...{ pair_verdict: 1, vip_backends: 2 },
};
const maxEntries = 100_000;
const pod = (nth: number, healthy = true): MeshUpdate => {
  const given = { namespace: `ns-${nth % 3}`, addresses: [`10.0.0.${nth}`], labels: { app: `app-${nth}` }, healthy };
  return { kind: "workload", op: "upsert", value: workload(`pod-${nth}`, given) };
};
const serviceOf = (nth: number): MeshUpdate => {
  const given = { namespace: `ns-${nth % 3}`, vips: [`10.96.0.${nth}`], selector: { app: `app-${nth}` } };
  return { kind: "service", op: "upsert", value: service(`pod-${nth}`, given) };
};

type Work = { judged: number; lists: number; rows: number };

/** What each of these changes asked for on a node with so many pods, each with a Service of its own. */
function workAmong(pods: number): Readonly<Record<string, Work>> {
  const mesh = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const work: Work = { judged: 0, lists: 0, rows: 0 };
  class Counted extends FakeMap {
    override put(key: Uint8Array, value: Uint8Array): void {
      work.rows += 1;
      super.put(key, value);
    }
  }
  const maps = [
    new Counted({ name: "pair_verdict", keyBytes: orlopPairKey.size, valueBytes: 4, maxEntries }),
    new Counted({ name: "vip_backends", keyBytes: orlopVipKey.size, valueBytes: orlopBackends.size, maxEntries }),
  ] as const;
  class Lent {
    constructor(fd: number) {
      // biome-ignore lint/correctness/noConstructorReturn: the tables make their maps themselves, and we count what is put into these.
      return maps[fd === 1 ? 0 : 1];
    }
  }
  const evaluate = judgeOf(mesh);
  const counted = new Proxy(mesh, {
    get: (store, name) => {
      if (name === "endpointsOf") work.lists += 1;
      const value: unknown = Reflect.get(store, name, store);
      return typeof value === "function" ? value.bind(store) : value;
    },
  });
  const tables = new PairTables({
    mesh: counted,
    judge: (...facts) => {
      work.judged += 1;
      return evaluate(...facts);
    },
    NativeMap: Lent as unknown as new (fd: number) => FakeMap,
    sever: async () => {},
    log: { debug() {}, info() {}, warn() {}, error() {} },
  });
  tables.opened(lent);
  const nths = Array.from({ length: pods }, (_, at) => at + 1);
  mesh.apply(nths.flatMap((nth) => [pod(nth), serviceOf(nth)]));
  const local = (): LocalPod[] =>
    nths.flatMap((podIdx) => {
      const found = mesh.workload(`box//Pod/ns-${podIdx % 3}/pod-${podIdx}`);
      return found === undefined ? [] : [{ podIdx, workload: found }];
    });
  const workOf = (act: () => void): Work => {
    Object.assign(work, { judged: 0, lists: 0, rows: 0 });
    act();
    return { ...work };
  };
  const changed = (update: MeshUpdate) => workOf(() => tables.changed(mesh.apply([update]), local()));
  const allow = policy("ALLOW", [ruleFor(["cluster.local/ns/ns-0/sa/pod-3"])], {
    namespace: "ns-1",
    selector: { app: "app-1" },
  });
  tables.setPods(local().slice(0, -1));
  return {
    came: workOf(() => tables.setPods(local())),
    ill: changed(pod(1, false)),
    recovered: changed(pod(1, true)),
    policy: changed({ kind: "authorization-policy", op: "upsert", value: allow }),
  };
}

test("a pod that comes, falls ill or gets a policy asks about its own pairs and Services, among 20 pods and among 80", (t) => {
  const [few, many] = [workAmong(20), workAmong(80)];
  for (const [what, among80] of Object.entries(many)) {
    const among20 = few[what];
    t.diagnostic(`${what}: ${JSON.stringify(among20)}, ${JSON.stringify(among80)}`);
    assert.ok(among20 !== undefined && among20.judged > 0, what);
    // Four times the pods: sixteen times the pairs.
    for (const count of ["judged", "lists", "rows"] as const)
      assert.ok(among80[count] <= 5 * among20[count] + 5, `${what}: ${count}`);
  }
});
