import assert from "node:assert/strict";
import { constants } from "node:os";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { Answer } from "../engine/answers.ts";
import type { Accepted } from "../engine/events.ts";
import { deny } from "../policy/policy.fake.ts";
import { api, Bench, near } from "./traffic.fake.ts";
import { REACH_LIMIT_MS } from "./unreached.ts";

const PEER = { address: "10.0.0.2", port: 15_008 };
const APPLICATION = { address: "10.0.0.2", port: 8080 };
const changed = (uid: string) => ({
  workloads: new Set([uid]),
  authorizationPolicies: new Set<string>(),
  peerAuthentications: new Set<string>(),
});

const refused = { cause: "connect-failed", detail: constants.errno.ECONNREFUSED, message: "" } as const;

function notReached(bench: Bench, { conn, generation, podIdx }: Accepted, to = PEER): void {
  bench.engine.feed({ type: "not-reached", conn, generation, podIdx, to, ...refused });
}

function established(bench: Bench, { conn, generation }: Accepted, upstream = PEER): void {
  bench.engine.feed({ type: "established", conn, generation, upstream, elapsedUs: 1, baggage: "" });
}

const answersTo = (bench: Bench, { conn }: Accepted): readonly Answer[] =>
  bench.engine.answers.filter((answer) => answer.conn === conn);

function begun(bench: Bench, given: Partial<Accepted> = {}): Accepted {
  const event = bench.outbound(APPLICATION, given);
  bench.engine.feed(event);
  return event;
}

describe("a connection whose peer cannot be reached", () => {
  test("waits, is dialled again, and has a single record", () => {
    const bench = new Bench().serve();
    const event = begun(bench);
    const [first] = answersTo(bench, event);
    assert.ok(first?.type === "tunnel" && first.reportsNotReached);
    notReached(bench, event);
    assert.equal(answersTo(bench, event).length, 1, "not at once");
    bench.clock.advance(20);
    const again = answersTo(bench, event)[1];
    assert.ok(again?.type === "tunnel");
    assert.deepEqual(again, { ...first, traceparent: again.traceparent });
    established(bench, event);
    bench.close(event);
    assert.equal(bench.ended.length, 1);
    assert.equal(bench.last().outcome.cause, "finished");
    const { rows } = bench.recorder.takeDeltas();
    assert.deepEqual([...rows].slice(1, 4), [1, 1, 0], "opened once, closed once, never failed");
    assert.equal(bench.clock.pending, 0);
  });

  test("ends with the reason of its last dial when three seconds are over", () => {
    const bench = new Bench().serve();
    const event = begun(bench);
    for (;;) {
      const answer = answersTo(bench, event).at(-1);
      assert.ok(answer?.type === "tunnel");
      if (answer.reportsNotReached !== true) break;
      notReached(bench, event);
      bench.clock.advance(250);
    }
    assert.ok(bench.clock.nowMs >= REACH_LIMIT_MS && bench.clock.nowMs <= REACH_LIMIT_MS + 250, `${bench.clock.nowMs}`);
    bench.close(event, "connect-failed", { detail: constants.errno.ECONNREFUSED });
    const { outcome } = bench.last();
    assert.equal(outcome.flag, "CONNECT");
    assert.match(outcome.message, /refused on HBONE port 15008 each time/);
    assert.equal(bench.clock.pending, 0);
  });

  test("goes to where its destination is by then: out of the mesh, in plaintext", () => {
    const bench = new Bench().serve();
    const event = begun(bench);
    notReached(bench, event);
    bench.mesh.replace({ ...api, protocol: "none" });
    bench.traffic.storeChanged(changed(near.uid));
    assert.equal(answersTo(bench, event).length, 1, "the change was another's");
    bench.traffic.storeChanged(changed(api.uid));
    const { conn, generation } = event;
    assert.deepEqual(answersTo(bench, event)[1], { type: "relay", conn, generation, to: APPLICATION });
    established(bench, event, APPLICATION);
    bench.close(event);
    const { record } = bench.last();
    assert.deepEqual([record.security, record.hbone, record.destination.port], ["none", null, 8080]);
    assert.equal(record.destination.identity, null);
    const { rows, fresh } = bench.recorder.takeDeltas();
    const security = fresh.map(({ labels }) => labels.at(-1));
    assert.deepEqual(security, ["mutual_tls", "unknown"], "it counts under what it became, too");
    assert.deepEqual([...rows.slice(1, 4), ...rows.slice(7, 10)], [1, 1, 0, 1, 1, 0]);
  });

  test("is judged anew, and refused by the policy of the pod that is served here by then", () => {
    const bench = new Bench().serve();
    const event = begun(bench);
    notReached(bench, event);
    bench.judge = () => deny("denied-by-policy");
    bench.traffic.addPod({ podIdx: 3, workloadUid: api.uid, addresses: [], preservesSource: true });
    assert.equal(answersTo(bench, event)[1]?.type, "refuse");
    bench.close(event, "refused");
    assert.equal(bench.last().outcome.cause, "policy");
    assert.equal(bench.last().record.decision?.verdict, "deny");
    assert.deepEqual(Object.values(bench.recorder.takeDeltas().decisions), [1], "it is counted once");
  });

  test("is cut with all others when the agent has no more time", () => {
    const bench = new Bench().serve();
    const event = begun(bench);
    notReached(bench, event);
    bench.traffic.drain(10, () => undefined);
    bench.clock.advance(10);
    assert.equal(answersTo(bench, event)[1]?.type, "close");
    bench.close(event, "closed-by-answer");
    assert.equal(bench.last().outcome.cause, "draining");
    assert.equal(bench.clock.pending, 0);
  });

  test("is forgotten when its application ends it", () => {
    const bench = new Bench().serve();
    const event = begun(bench);
    notReached(bench, event);
    bench.close(event, "reset-by-downstream");
    assert.equal(bench.clock.pending, 0);
    bench.clock.advance(REACH_LIMIT_MS);
    assert.equal(answersTo(bench, event).length, 1);
  });
});

test("on one node, too: whatever was dialled is dialled again", () => {
  const bench = new Bench().serve();
  bench.mesh.replace({ ...api, node: near.node });
  bench.traffic.addPod({ podIdx: 3, workloadUid: api.uid, addresses: [], preservesSource: true });
  const event = begun(bench);
  const [first] = answersTo(bench, event);
  assert.ok(first?.type === "dial" && first.reportsNotReached);
  notReached(bench, event, first.to);
  bench.clock.advance(20);
  assert.deepEqual(answersTo(bench, event)[1], first);
  established(bench, event, first.to);
  bench.close(event);
  assert.equal(bench.last().outcome.cause, "finished");
});

test("connections of one pod to one peer are decided together, and those of another pod for themselves", () => {
  const bench = new Bench().serve();
  const [one, two] = [begun(bench), begun(bench)];
  const other = begun(bench, { podIdx: 2, source: { address: "10.0.0.3", port: 40_001 } });
  notReached(bench, one);
  notReached(bench, two);
  notReached(bench, other);
  assert.equal(bench.clock.pending, 2, "a pause for each pod");
  bench.clock.advance(20);
  assert.deepEqual(
    [one, two, other].map((event) => answersTo(bench, event).length),
    [2, 2, 2],
  );
  notReached(bench, one);
  established(bench, two);
  assert.equal(answersTo(bench, one).length, 3, "what one has reached the other can reach");
  established(bench, one);
  for (const event of [one, two, other]) bench.close(event);
  assert.equal(bench.clock.pending, 0);
});

test("more connections wait than may: the others are dialled once more at once, and end", () => {
  const bench = new Bench().serve();
  const events = Array.from({ length: 4_100 }, (_, index) =>
    begun(bench, { source: { address: "10.0.0.1", port: index + 1 } }),
  );
  for (const event of events) notReached(bench, event);
  const again = events.filter((event) => answersTo(bench, event).length === 2);
  assert.equal(again.length, 4);
  for (const event of again) {
    const answer = answersTo(bench, event)[1];
    assert.ok(answer?.type === "tunnel" && answer.reportsNotReached !== true);
  }
  for (const event of events) bench.close(event);
  assert.equal(bench.clock.pending, 0);
});

test("whatever comes in whatever order: one record, one end, no timer left, and no endless wait", () => {
  const step = fc.constantFrom("refused", "reached", "leaves", "joins", "time", "ends" as const);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.array(fc.nat(2), { maxLength: 60 }), (steps, which) => {
      const bench = new Bench().serve();
      const events = [begun(bench), begun(bench), begun(bench)];
      const open = new Set(events);
      const since = new Map<Accepted, number>();
      /** The last answer has not had its event yet. */
      const answered = (event: Accepted): Answer | undefined => answersTo(bench, event)[since.get(event) ?? 0];
      const end = (event: Accepted): void => {
        if (open.delete(event)) bench.close(event);
      };
      for (const [index, name] of steps.entries()) {
        const event = events[which[index] ?? 0];
        if (event === undefined || !open.has(event)) continue;
        const answer = answered(event);
        if (name === "time") bench.clock.advance(100);
        else if (name === "ends") end(event);
        else if (name === "leaves" || name === "joins") {
          bench.mesh.replace({ ...api, protocol: name === "leaves" ? "none" : "hbone" });
          bench.traffic.storeChanged(changed(api.uid));
        } else if (answer !== undefined) {
          since.set(event, (since.get(event) ?? 0) + 1);
          if (name === "reached" || answer.type !== "tunnel") {
            established(bench, event);
            end(event);
          } else if (answer.reportsNotReached === true) notReached(bench, event);
          else end(event);
        }
      }
      bench.clock.advance(300);
      for (const event of open) assert.ok(answered(event) !== undefined, "every connection has been decided anew");
      for (const event of events) end(event);
      assert.equal(bench.ended.length, 3);
      assert.equal(bench.recorder.connections(10).length, 0);
      assert.equal(bench.clock.pending, 0);
      assert.deepEqual(bench.faults, []);
    }),
    { numRuns: 300, verbose: true },
  );
});
