// What is kept is what was given, and what many have alike is the same object.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { emptyOperation } from "./policies.ts";
import { cut, Lean } from "./thread-view.ts";
import type { Workload } from "./workload.ts";

const workload = (name: string): Workload => ({
  uid: `box//Pod/shop/${name}`,
  podUid: "",
  name,
  namespace: "shop",
  addresses: ["10.0.0.1", "fd00::1"],
  node: "node-a",
  network: "",
  cluster: "box",
  identity: {
    text: "spiffe://cluster.local/ns/shop/sa/web",
    trustDomain: "cluster.local",
    namespace: "shop",
    serviceAccount: "web",
  },
  labels: { app: "web", version: "v1" },
  protocol: "hbone",
  ports: { http: 8080 },
  probePorts: null,
  removesProxyHeaders: false,
  healthy: true,
  locality: { region: "eu", zone: "a", subzone: "" },
  weight: 1,
  workloadName: "web",
  canonicalName: "web",
  canonicalRevision: "v1",
  from: { file: "mesh.yaml", line: 7, column: 1 },
});

test("a workload stays what it is; labels, identity, ports and locality are shared with its like", () => {
  const lean = new Lean();
  const [one, other] = [lean.workload(workload("a")), lean.workload(workload("b"))];
  assert.deepEqual([one, other], [workload("a"), workload("b")]);
  for (const part of ["identity", "labels", "ports", "locality"] as const) assert.equal(one[part], other[part]);
});

test("parts that differ stay apart, also where one reads like another", () => {
  const lean = new Lean();
  const first = lean.workload({ ...workload("a"), labels: { a: "1" }, ports: { a: 1 } });
  const second = lean.workload({ ...workload("b"), labels: {}, ports: {} });
  assert.deepEqual([first.labels, first.ports, second.labels, second.ports], [{ a: "1" }, { a: 1 }, {}, {}]);
});

test("updates of every kind come out equal", () => {
  const lean = new Lean();
  const from = { file: "mesh.yaml", line: 1, column: 1 };
  const rules = [{ sources: [], operations: [{ ...emptyOperation, ports: [80] }], when: [], unreadable: [], from }];
  const value = { name: "p", namespace: "shop", selector: null, action: "DENY", dryRun: false, rules, from } as const;
  const update = { kind: "authorization-policy", op: "upsert", value } as const;
  assert.deepEqual(lean.update(update), update);
  assert.deepEqual(lean.update({ kind: "workload", op: "remove", key: "x" }), {
    kind: "workload",
    op: "remove",
    key: "x",
  });
});

test("a text that is cut out of another is the same text, whatever characters it has", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 40 }), (text) => {
      assert.equal(cut(text), text);
    }),
  );
  assert.equal(cut(`lone \ud800 surrogate in a text`), `lone \ud800 surrogate in a text`);
});
