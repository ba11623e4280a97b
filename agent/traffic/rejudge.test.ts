import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ConnRef } from "../engine/events.ts";
import { workload } from "../mesh/mesh.fake.ts";
import { spiffeId } from "../mesh/spiffe-id.ts";
import type { Workload } from "../mesh/workload.ts";
import { deny } from "../policy/policy.fake.ts";
import type { Change } from "./rejudge.ts";
import { api, Bench, near, web } from "./traffic.fake.ts";

const none: Change = { workloads: new Set(), authorizationPolicies: new Set(), peerAuthentications: new Set() };
const policyChanged: Change = { ...none, authorizationPolicies: new Set(["shop/rules"]) };
const changed = (...workloads: readonly Workload[]): Change => ({
  ...none,
  workloads: new Set(workloads.map((one) => one.uid)),
});

/** Connections that were asked to close since `from`. */
function closes(bench: Bench, from = 0): number[] {
  return bench.engine.answers
    .slice(from)
    .filter((one) => one.type === "close")
    .map((one) => one.conn);
}
function opened(bench: Bench, event: ConnRef & Parameters<Bench["engine"]["feed"]>[0]): number {
  const answer = bench.engine.feed(event);
  assert.ok(answer !== undefined && answer.type !== "refuse", "it has to be open first");
  return event.conn;
}

describe("open connections after a change", () => {
  test("of policy: those it denies end, in the same turn, with the new reason in their one record", () => {
    const bench = new Bench().serve();
    const inbound = bench.connect("10.0.0.1:8080");
    const plain = bench.plaintext();
    const local = bench.outbound({ address: "10.0.0.3", port: 80 });
    const far = bench.outbound({ address: "10.0.0.2", port: 80 });
    const out = bench.outbound({ address: "8.8.8.8", port: 80 });
    for (const event of [inbound, plain, local, far, out]) opened(bench, event);
    bench.traffic.storeChanged(policyChanged);
    assert.deepEqual(closes(bench), [], "still allowed");

    bench.judge = () => deny("denied-by-policy");
    bench.traffic.storeChanged(policyChanged);
    assert.deepEqual(
      closes(bench).sort(),
      [inbound.conn, plain.conn, local.conn].sort(),
      "the far end judges the others",
    );
    bench.close(inbound, "closed-by-answer");
    const { record, outcome } = bench.last();
    assert.equal(record.decision?.verdict, "allow");
    assert.equal(outcome.decision?.reason, "denied-by-policy");
    assert.equal(outcome.flag, "DENY");
    assert.equal(outcome.cause, "policy");
    bench.traffic.storeChanged(policyChanged);
    assert.equal(closes(bench).length, 3, "nobody is told twice");
  });

  test("of a peer authentication: plaintext ends when its port becomes STRICT", () => {
    const bench = new Bench().serve();
    const plain = bench.plaintext();
    const inbound = bench.connect("10.0.0.1:8080");
    for (const event of [plain, inbound]) opened(bench, event);
    bench.judge = (facts) =>
      facts.security === "none" ? deny("mtls-required") : { ...deny("mtls-required"), verdict: "allow" };
    bench.traffic.storeChanged({ ...none, peerAuthentications: new Set(["shop/peers"]) });
    assert.deepEqual(closes(bench), [plain.conn]);
  });

  test("of labels: the evaluator is shown the destination as it is now", () => {
    const bench = new Bench().serve();
    const inbound = bench.connect("10.0.0.1:8080");
    opened(bench, inbound);
    const relabelled = { ...web, labels: { app: "web", tier: "closed" } };
    bench.judge = (facts) =>
      facts.destination.labels.tier === "closed"
        ? deny("no-allow-matched")
        : { ...deny("no-allow-matched"), verdict: "allow" };
    bench.traffic.storeChanged(changed(api));
    assert.deepEqual(closes(bench), []);
    bench.mesh.replace(relabelled);
    bench.traffic.storeChanged(changed(relabelled));
    assert.deepEqual(closes(bench), [inbound.conn]);
  });

  test("of the source's identity: what was opened under the old one ends", () => {
    const bench = new Bench().serve();
    const local = bench.outbound({ address: "10.0.0.3", port: 80 });
    const far = bench.outbound({ address: "10.0.0.2", port: 80 });
    const inbound = bench.connect("10.0.0.1:8080");
    for (const event of [local, far, inbound]) opened(bench, event);
    const renamed = { ...web, identity: spiffeId("cluster.local", "shop", "other") };
    bench.mesh.replace(renamed);
    bench.traffic.storeChanged(changed(renamed));
    assert.deepEqual(closes(bench).sort(), [local.conn, far.conn].sort());
    bench.close(far, "closed-by-answer");
    assert.equal(bench.last().outcome.cause, "unknown-source");
  });

  test("of who has an address: plaintext of what is a member now ends where that member is denied", () => {
    const bench = new Bench().serve();
    const joins = workload("joins", { addresses: ["10.9.9.9"], node: "n2" });
    const [plain, other] = [bench.plaintext(), bench.plaintext({ source: { address: "10.9.9.8", port: 1 } })];
    for (const event of [plain, other]) opened(bench, event);
    bench.judge = ({ sourceIdentity }) =>
      sourceIdentity?.text === joins.identity.text
        ? deny("denied-by-policy")
        : { ...deny("no-allow-matched"), verdict: "allow" };
    bench.mesh.list.push({ ...joins, protocol: "none" });
    bench.traffic.storeChanged(changed(joins));
    assert.deepEqual(closes(bench), [], "not in the mesh yet");
    bench.mesh.replace(joins);
    bench.traffic.storeChanged(changed(joins));
    assert.deepEqual(closes(bench), [plain.conn]);
  });

  test("of who exists: without its destination nothing can be judged, so it ends; a far endpoint may leave", () => {
    const bench = new Bench().serve();
    const local = bench.outbound({ address: "10.0.0.3", port: 80 });
    const far = bench.outbound({ address: "10.0.0.2", port: 80 });
    for (const event of [local, far]) opened(bench, event);
    bench.mesh.list = bench.mesh.list.filter((one) => one.uid !== near.uid && one.uid !== api.uid);
    bench.traffic.storeChanged(changed(near, api));
    assert.deepEqual(closes(bench), [local.conn]);
  });

  test("of services, of another namespace: nothing is judged again; of the root namespace: everything", () => {
    const bench = new Bench().serve();
    opened(bench, bench.connect("10.0.0.1:8080"));
    const before = bench.asked.length;
    bench.traffic.storeChanged(none);
    bench.traffic.storeChanged({ ...none, authorizationPolicies: new Set(["other/rules"]) });
    assert.equal(bench.asked.length, before);
    bench.traffic.storeChanged({ ...none, authorizationPolicies: new Set(["istio-system/rules"]) });
    assert.equal(bench.asked.length, before + 1);
  });

  test("a peer that reset first ended it itself", () => {
    const bench = new Bench().serve();
    const inbound = bench.connect("10.0.0.1:8080");
    opened(bench, inbound);
    bench.judge = () => deny("denied-by-policy");
    bench.traffic.storeChanged(policyChanged);
    bench.close(inbound, "reset-by-downstream");
    assert.equal(bench.last().outcome.flag, "-");
    assert.equal(bench.last().outcome.decision, undefined);
  });

  test("a change between waiting and answering is seen: the late answer is judged then", () => {
    const bench = new Bench().serve();
    bench.traffic.addPod({ podIdx: 5, workloadUid: "box//Pod/shop/late", addresses: [], preservesSource: true });
    const event = bench.outbound(
      { address: "10.0.0.3", port: 80 },
      { podIdx: 5, source: { address: "10.0.0.7", port: 1 } },
    );
    assert.equal(bench.engine.feed(event), undefined);
    bench.judge = () => deny("denied-by-policy");
    bench.traffic.storeChanged(policyChanged);
    const late = workload("late", { addresses: ["10.0.0.7"] });
    bench.mesh.replace(late);
    bench.traffic.storeChanged(changed(late));
    assert.equal(bench.lastAnswer()?.type, "refuse");
  });

  test("connections that no rule can tell apart are judged once, and all of them end", () => {
    const bench = new Bench().serve();
    const refs = Array.from({ length: 200 }, (_, index) =>
      opened(bench, bench.plaintext({ source: { address: `10.9.9.${index % 4}`, port: 1000 + index } })),
    );
    const before = bench.asked.length;
    bench.judge = () => deny("mtls-required");
    bench.traffic.storeChanged(policyChanged);
    assert.equal(bench.asked.length - before, 4);
    assert.deepEqual(closes(bench).sort(), refs.sort());
  });
});
