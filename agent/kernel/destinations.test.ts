import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { httpRoute, peerAuthentication, policy, service, workload } from "../mesh/mesh.fake.ts";
import type { MeshUpdate } from "../mesh/mesh-update.ts";
import { MeshStore } from "../mesh/store.ts";
import { judgeOf } from "../policy/evaluate.ts";
import { Destinations } from "./destinations.ts";
import type { OutEntry } from "./maps.ts";
import { allOutEntries } from "./plaintext-verdicts.fake.ts";
import type { TableChange } from "./table-change.ts";

const namespaces = ["shop", "bank"] as const;
const names = ["web", "api", "db"] as const;

const anyUpdate: fc.Arbitrary<MeshUpdate> = fc.oneof(
  fc
    .record({
      name: fc.constantFrom(...names),
      namespace: fc.constantFrom(...namespaces),
      address: fc.integer({ min: 1, max: 3 }),
      protocol: fc.constantFrom("hbone" as const, "none" as const),
      app: fc.constantFrom(...names),
      healthy: fc.boolean(),
    })
    .map(({ name, namespace, address, protocol, app, healthy }): MeshUpdate => {
      const given = { namespace, addresses: [`10.0.0.${address}`], protocol, labels: { app }, healthy };
      return { kind: "workload", op: "upsert", value: workload(name, given) };
    }),
  fc
    .record({ name: fc.constantFrom(...names), namespace: fc.constantFrom(...namespaces) })
    .map(
      ({ name, namespace }): MeshUpdate => ({ kind: "workload", op: "remove", key: `box//Pod/${namespace}/${name}` }),
    ),
  fc
    .record({
      name: fc.constantFrom(...names),
      namespace: fc.constantFrom(...namespaces),
      vip: fc.integer({ min: 1, max: 3 }),
      explicit: fc.boolean(),
      failsDirect: fc.boolean(),
    })
    .map(({ name, namespace, vip, explicit, failsDirect }): MeshUpdate => {
      const endpoints = explicit ? [{ address: "10.0.0.1", ports: {}, weight: 1, healthy: true }] : [];
      const selector = explicit ? null : { app: name };
      const given = { namespace, vips: [`10.96.0.${vip}`], selector, endpoints, failsDirect };
      return { kind: "service", op: "upsert", value: service(name, given) };
    }),
  fc
    .record({ name: fc.constantFrom(...names), namespace: fc.constantFrom(...namespaces) })
    .map(({ name, namespace }): MeshUpdate => ({ kind: "service", op: "remove", key: `${namespace}/${name}` })),
  fc
    .record({
      mode: fc.constantFrom("STRICT" as const, "PERMISSIVE" as const),
      namespace: fc.constantFrom(...namespaces),
    })
    .map(({ mode, namespace }): MeshUpdate => {
      const value = peerAuthentication(mode, {
        namespace,
        portLevel: { 8080: mode === "STRICT" ? "PERMISSIVE" : "STRICT" },
      });
      return { kind: "peer-authentication", op: "upsert", value: { ...value, selector: { app: "web" } } };
    }),
  fc.constantFrom(...namespaces).map(
    (namespace): MeshUpdate => ({
      kind: "authorization-policy",
      op: "upsert",
      value: policy("DENY", [], { namespace, selector: { app: "api" } }),
    }),
  ),
  fc
    .record({ name: fc.constantFrom(...names), namespace: fc.constantFrom(...namespaces), isThere: fc.boolean() })
    .map(({ name, namespace, isThere }): MeshUpdate => {
      if (!isThere) return { kind: "http-route", op: "remove", key: `${namespace}/route` };
      return { kind: "http-route", op: "upsert", value: httpRoute(`${namespace}/${name}`, { name: "route" }) };
    }),
  fc
    .constantFrom(...namespaces)
    .map((namespace): MeshUpdate => ({ kind: "authorization-policy", op: "remove", key: `${namespace}/rules` })),
);

function written(table: Map<string, string>, { put, remove }: TableChange<OutEntry>): void {
  for (const { address, port, verdict } of put) table.set(`${address} ${port}`, verdict);
  for (const { address, port } of remove) table.delete(`${address} ${port}`);
}

/** The same from scratch; of two claims the stricter, and unanswered only if both are. */
function expected(store: MeshStore): Map<string, string> {
  const table = new Map<string, string>();
  for (const { address, port, verdict } of allOutEntries({ mesh: store, judge: judgeOf(store) })) {
    const key = `${address} ${port}`;
    const other = table.get(key) ?? verdict;
    const direct = [verdict, other].every((each) => each.endsWith("direct"));
    const answered = [verdict, other].some((each) => !each.startsWith("unanswered"));
    table.set(key, `${answered ? "" : "unanswered-"}${direct ? "direct" : "refuse"}`);
  }
  return table;
}

const sorted = (table: Map<string, string>): [string, string][] => [...table].sort();

/** Addresses that went direct by `before` on some port, or that it did not have, and that do not go direct by `after`, or are new in it. */
function joinedBetween(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): string[] {
  const joined = [...after].filter(([key, verdict]) => {
    const was = before.get(key);
    return was === undefined || (was.endsWith("direct") && verdict.endsWith("refuse"));
  });
  return [...new Set(joined.map(([key]) => key.split(" ")[0] ?? ""))].sort();
}

test("change by change the table is what it would be from scratch, and what joined is what it did not have or let go direct", () => {
  fc.assert(
    fc.property(fc.array(fc.array(anyUpdate, { minLength: 1, maxLength: 4 }), { maxLength: 16 }), (batches) => {
      const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
      const destinations = new Destinations({ mesh: store, judge: judgeOf(store) }, []);
      const table = new Map<string, string>();
      for (const batch of batches) {
        const before = new Map(table);
        const change = destinations.changed(store.apply(batch));
        written(table, change);
        assert.deepEqual(sorted(table), sorted(expected(store)));
        assert.deepEqual([...change.joined].sort(), joinedBetween(before, table));
      }
    }),
    { numRuns: 2_000 },
  );
});

test("what an earlier agent left is mended: wrong verdicts, and entries of nobody", () => {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  store.apply([{ kind: "workload", op: "upsert", value: workload("web") }]);
  const destinations = new Destinations({ mesh: store, judge: judgeOf(store) }, [
    { address: "10.0.0.1", port: 0, verdict: "refuse" },
    { address: "10.0.0.9", port: 0, verdict: "direct" },
  ]);
  assert.deepEqual(destinations.all(), {
    put: [{ address: "10.0.0.1", port: 0, verdict: "direct" }],
    remove: [{ address: "10.0.0.9", port: 0, verdict: "direct" }],
    joined: new Set(),
  });
});

test("the stricter of two claims stands, and the other when it goes", () => {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const destinations = new Destinations({ mesh: store, judge: judgeOf(store) }, []);
  const strict = peerAuthentication("STRICT", { selector: { app: "api" } });
  const first = destinations.changed(
    store.apply([
      { kind: "workload", op: "upsert", value: workload("web") },
      { kind: "workload", op: "upsert", value: workload("api") },
      { kind: "peer-authentication", op: "upsert", value: strict },
    ]),
  );
  // Both have the address, so nobody can tell which of them would answer.
  assert.deepEqual(first.put, [{ address: "10.0.0.1", port: 0, verdict: "unanswered-refuse" }]);
  const later = destinations.changed(store.apply([{ kind: "workload", op: "remove", key: "box//Pod/shop/api" }]));
  assert.deepEqual(later, {
    put: [{ address: "10.0.0.1", port: 0, verdict: "direct" }],
    remove: [],
    joined: new Set(),
  });
});

test("an endpoint that falls ill or recovers makes nobody join: only what its Service answers is another", () => {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const destinations = new Destinations({ mesh: store, judge: judgeOf(store) }, []);
  const web = (healthy: boolean): MeshUpdate => ({
    kind: "workload",
    op: "upsert",
    value: workload("web", { healthy }),
  });
  const vip = service("web", { vips: ["10.96.0.1"], selector: { app: "web" } });
  const first = destinations.changed(store.apply([web(true), { kind: "service", op: "upsert", value: vip }]));
  assert.deepEqual([...first.joined].sort(), ["10.0.0.1", "10.96.0.1"]);
  for (const healthy of [false, true]) {
    const { put, joined } = destinations.changed(store.apply([web(healthy)]));
    assert.deepEqual(put, [{ address: "10.96.0.1", port: 80, verdict: healthy ? "direct" : "unanswered-direct" }]);
    assert.deepEqual([...joined], []);
  }
});
