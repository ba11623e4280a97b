// The room with the real store and the real evaluator: what a change of the mesh does to connections that are open.
import assert from "node:assert/strict";
import { test } from "node:test";
import { peerAuthentication, policy, ruleFor, service } from "../mesh/mesh.fake.ts";
import type { MeshUpdate } from "../mesh/mesh-update.ts";
import { MeshStore } from "../mesh/store.ts";
import { judgeOf } from "../policy/evaluate.ts";
import { api, Bench, near, web } from "./traffic.fake.ts";

function whole() {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const bench = new Bench({ mesh: store, judge: judgeOf(store) });
  const apply = (...updates: readonly MeshUpdate[]): void => bench.traffic.storeChanged(store.apply(updates));
  apply(...[web, near, api].map((value): MeshUpdate => ({ kind: "workload", op: "upsert", value })), {
    kind: "service",
    op: "upsert",
    value: service("api"),
  });
  bench.serve();
  const closes = (): number[] => bench.engine.answers.filter((one) => one.type === "close").map((one) => one.conn);
  return { bench, apply, closes };
}

test("an ALLOW policy that comes, changes and goes", () => {
  const { bench, apply, closes } = whole();
  const inbound = bench.connect("10.0.0.1:8080");
  assert.equal(bench.engine.feed(inbound)?.type, "dial");
  const allowing = (sa: string): MeshUpdate => ({
    kind: "authorization-policy",
    op: "upsert",
    value: policy("ALLOW", [ruleFor([`cluster.local/ns/shop/sa/${sa}`], [8080])]),
  });
  apply(allowing("api"));
  assert.deepEqual(closes(), []);
  apply(allowing("near"));
  assert.deepEqual(closes(), [inbound.conn]);
  bench.close(inbound, "closed-by-answer");
  const { outcome } = bench.last();
  assert.equal(outcome.decision?.reason, "no-allow-matched");
  assert.match(outcome.decision?.nearestMiss ?? "", /shop\/rules\[0\] wants source\.principal/);

  const refused = bench.connect("10.0.0.1:8080");
  assert.deepEqual(bench.engine.feed(refused), { type: "refuse", conn: refused.conn, generation: 1, status: 401 });
  apply({ kind: "authorization-policy", op: "remove", key: "shop/rules" });
  assert.equal(bench.engine.feed(bench.connect("10.0.0.1:8080"))?.type, "dial");
});

test("STRICT ends plaintext and leaves proved connections, between nodes and within one", () => {
  const { bench, apply, closes } = whole();
  const plain = bench.plaintext();
  const inbound = bench.connect("10.0.0.1:8080");
  const local = bench.outbound({ address: "10.0.0.3", port: 80 });
  for (const event of [plain, inbound, local]) assert.equal(bench.engine.feed(event)?.type, "dial");
  apply({ kind: "peer-authentication", op: "upsert", value: peerAuthentication("STRICT") });
  assert.deepEqual(closes(), [plain.conn]);
  assert.equal(bench.engine.feed(bench.plaintext())?.type, "refuse");
});

test("labels that bring a workload under a policy end what it denies", () => {
  const { bench, apply, closes } = whole();
  apply({
    kind: "authorization-policy",
    op: "upsert",
    value: policy("DENY", [ruleFor(["cluster.local/ns/shop/sa/api"])], { selector: { tier: "closed" } }),
  });
  const inbound = bench.connect("10.0.0.1:8080");
  assert.equal(bench.engine.feed(inbound)?.type, "dial");
  apply({ kind: "workload", op: "upsert", value: { ...web, labels: { ...web.labels, tier: "closed" } } });
  assert.deepEqual(closes(), [inbound.conn]);
});

test("the same written again changes nothing", () => {
  const { bench, apply, closes } = whole();
  bench.engine.feed(bench.connect("10.0.0.1:8080"));
  apply({ kind: "workload", op: "upsert", value: { ...web } });
  assert.deepEqual(closes(), []);
});
