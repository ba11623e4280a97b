import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { CloseCause, ConnRef } from "../engine/events.ts";
import { workload } from "../mesh/mesh.fake.ts";
import type { Decision } from "../policy/decision.ts";
import { allow, deny } from "../policy/policy.fake.ts";
import type { Change } from "./rejudge.ts";
import { Bench, web } from "./traffic.fake.ts";

const policyChanged: Change = {
  workloads: new Set(),
  authorizationPolicies: new Set(["shop/rules"]),
  peerAuthentications: new Set(),
};

const causes: readonly CloseCause[] = [
  "finished",
  "reset-by-downstream",
  "reset-by-upstream",
  "refused",
  "closed-by-answer",
  "connect-failed",
  "connect-timeout",
  "tls-failed",
  "tls-peer-rejected",
  "h2-failed",
  "tunnel-refused",
  "tunnel-lost",
  "protocol-error",
  "no-socket",
  "shed",
  "drained",
  "answer-timeout",
  "unanswered",
  "peer-certificate-ended",
];

describe("one record for each connection, whatever happens", () => {
  const step = fc.oneof(
    fc.constantFrom("far", "local", "direct", "own", "plain", "connect", "late", "lost" as const),
    fc.record({ close: fc.nat(20), cause: fc.constantFrom(...causes), twice: fc.boolean() }),
    fc.constantFrom("deny", "allow", "throw", "certificate", "five seconds", "establish" as const),
  );

  test("in any order of events, changes, answers and ends", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const bench = new Bench();
        bench.traffic.addPod({ podIdx: 1, workloadUid: web.uid, addresses: [], preservesSource: true });
        bench.traffic.addPod({ podIdx: 2, workloadUid: "box//Pod/shop/near", addresses: [], preservesSource: true });
        bench.traffic.addPod({ podIdx: 5, workloadUid: "box//Pod/shop/late", addresses: [], preservesSource: true });
        let verdict: () => Decision = () => allow;
        bench.judge = () => verdict();
        const open: ConnRef[] = [];
        let begun = 0;
        const begin = (event: ConnRef & Parameters<Bench["engine"]["feed"]>[0]): void => {
          begun += 1;
          open.push(event);
          bench.engine.feed(event);
        };
        const change = (decision: () => Decision): void => {
          verdict = decision;
          bench.traffic.storeChanged(policyChanged);
        };
        for (const one of steps) {
          if (typeof one === "object") {
            const [ref] = open.splice(one.close % Math.max(1, open.length), 1);
            if (ref === undefined) continue;
            bench.close(ref, one.cause);
            if (one.twice) bench.close(ref, one.cause);
          } else if (one === "far") begin(bench.outbound({ address: "10.0.0.2", port: 80 }));
          else if (one === "local") begin(bench.outbound({ address: "10.0.0.3", port: 80 }));
          else if (one === "direct") begin(bench.outbound({ address: "8.8.8.8", port: 80 }));
          else if (one === "own") begin(bench.outbound({ address: "10.0.0.2", port: 15_008 }));
          else if (one === "lost") begin(bench.outbound(null));
          else if (one === "plain") begin(bench.plaintext());
          else if (one === "connect") begin(bench.connect("10.0.0.1:8080"));
          else if (one === "late")
            begin(
              bench.outbound({ address: "8.8.8.8", port: 1 }, { podIdx: 5, source: { address: "10.0.0.7", port: 1 } }),
            );
          else if (one === "deny") change(() => deny("denied-by-policy"));
          else if (one === "allow") change(() => allow);
          else if (one === "throw")
            verdict = () => {
              throw new Error("a bug");
            };
          else if (one === "certificate") bench.traffic.identityInstalled(11, web.identity.text);
          else if (one === "five seconds") bench.clock.advance(5000);
          else
            for (const ref of open)
              bench.engine.feed({
                ...ref,
                type: "established",
                upstream: { address: "10.0.0.2", port: 1 },
                elapsedUs: 1,
                baggage: "",
              });
        }
        for (const ref of open) bench.close(ref);
        assert.equal(bench.ended.length, begun, "a record for each");
        assert.equal(bench.recorder.connections(1000).length, 0, "none left open");
        assert.equal(bench.traffic.open(), 0);
        assert.equal(bench.clock.pending, 0, "no timer without a waiter");
        const answered = new Map<string, number>();
        for (const { conn, generation, type } of bench.engine.answers) {
          if (type === "close" || type === "peer" || type === "reject-peer") continue;
          answered.set(`${conn}/${generation}`, (answered.get(`${conn}/${generation}`) ?? 0) + 1);
        }
        assert.ok(
          [...answered.values()].every((count) => count === 1),
          "no event is answered twice",
        );
      }),
      { numRuns: 500, verbose: true },
    );
  });

  test("a slot used again is another connection", () => {
    const bench = new Bench().serve();
    const first = bench.outbound({ address: "8.8.8.8", port: 1 });
    bench.engine.feed(first);
    bench.close({ conn: first.conn, generation: 2 });
    assert.equal(bench.ended.length, 0, "another generation's end is not this one's");
    bench.close(first);
    const second = { ...bench.outbound({ address: "8.8.8.8", port: 2 }), conn: first.conn, generation: 2 };
    bench.engine.feed(second);
    bench.close(first);
    assert.equal(bench.ended.length, 1);
    bench.close(second);
    assert.equal(bench.last().record.destination.port, 2);
  });
});

test("a slot used again without an end of the first still gives each its record", () => {
  const bench = new Bench().serve();
  const first = bench.outbound({ address: "8.8.8.8", port: 1 });
  bench.engine.feed(first);
  const second = { ...bench.outbound({ address: "8.8.8.8", port: 2 }), conn: first.conn, generation: 2 };
  assert.equal(bench.engine.feed(second)?.type, "relay");
  assert.equal(bench.ended.length, 1);
  assert.equal(bench.last().outcome.flag, "CONNECT");
  assert.equal(bench.faults.length, 1);
  bench.close(second);
  assert.equal(bench.ended.length, 2);
});

describe("a fault of ours", () => {
  test("while re-judging one ends that connection and spares the rest", () => {
    const bench = new Bench().serve();
    const bad = bench.plaintext({ source: { address: "10.9.9.1", port: 1 } });
    const good = bench.plaintext({ source: { address: "10.9.9.2", port: 1 } });
    for (const event of [bad, good]) bench.engine.feed(event);
    bench.judge = (facts) => {
      if (facts.sourceAddress === "10.9.9.1") throw new Error("a bug");
      return allow;
    };
    bench.traffic.storeChanged(policyChanged);
    assert.deepEqual(bench.lastAnswer(), { type: "close", conn: bad.conn, generation: 1 });
    bench.close(bad, "closed-by-answer");
    assert.equal(bench.last().outcome.cause, "fault");
    assert.equal(bench.faults.length, 1);
  });

  test("while reading a certificate rejects that peer", () => {
    const bench = new Bench({
      readPeer: () => {
        throw new Error("a bug");
      },
    }).serve();
    assert.equal(bench.verify(web.identity.text), 0);
    assert.equal(bench.lastAnswer()?.type, "reject-peer");
    assert.equal(bench.faults.length, 1);
  });
});

describe("pods and identities", () => {
  test("a pod's integer is -1 until its certificate is there", () => {
    const bench = new Bench();
    bench.traffic.addPod({ podIdx: 1, workloadUid: web.uid, addresses: [], preservesSource: true });
    assert.equal(bench.traffic.podIdentity(1), -1);
    assert.deepEqual(bench.traffic.identityInstalled(30, web.identity.text), [1]);
    assert.equal(bench.traffic.podIdentity(1), 30);
    assert.equal(bench.traffic.podIdentity(9), -1);
  });

  test("a certificate that is no more is offered to no peer: its pods' connections wait for the next", () => {
    const bench = new Bench().serve();
    assert.deepEqual(bench.traffic.identityDropped(11, web.identity.text), [1]);
    assert.equal(bench.traffic.podIdentity(1), -1);
    assert.equal(bench.engine.feed(bench.outbound({ address: "10.0.0.2", port: 80 })), undefined);
    bench.traffic.identityInstalled(31, web.identity.text);
    const answer = bench.lastAnswer();
    assert.equal(answer?.type === "tunnel" && answer.identity, 31);
    assert.deepEqual(bench.traffic.identityDropped(11, web.identity.text), [], "another has its place");
    assert.equal(bench.traffic.podIdentity(1), 31);
  });

  test("a removed pod is served no more, and is no local destination", () => {
    const bench = new Bench().serve();
    bench.traffic.removePod(2);
    assert.equal(bench.engine.feed(bench.outbound({ address: "10.0.0.3", port: 80 }))?.type, "tunnel");
    bench.traffic.removePod(1);
    assert.equal(bench.engine.feed(bench.outbound({ address: "8.8.8.8", port: 80 }))?.type, "refuse");
  });

  test("an index or a workload that moves means one pod only", () => {
    const bench = new Bench().serve();
    bench.mesh.replace(workload("new", { addresses: ["10.0.0.8"] }));
    bench.traffic.addPod({ podIdx: 2, workloadUid: "box//Pod/shop/new", addresses: [], preservesSource: true });
    assert.equal(bench.engine.feed(bench.outbound({ address: "10.0.0.3", port: 80 }))?.type, "tunnel");
    bench.traffic.addPod({ podIdx: 7, workloadUid: "box//Pod/shop/new", addresses: [], preservesSource: true });
    const answer = bench.engine.feed(bench.outbound({ address: "10.0.0.8", port: 80 }));
    assert.equal(answer?.type === "dial" ? answer.podIdx : -1, 7);
  });

  test("what is no connection is told on", () => {
    const bench = new Bench();
    const peer = { address: "10.0.0.2", port: 1 };
    bench.engine.feed({ type: "handshake-failed", podIdx: 1, peer, reason: "plaintext", message: "" });
    bench.engine.feed({ type: "tunnel-abused", podIdx: 1, peer, peerIdentity: 1, reason: "rapid-reset" });
    bench.engine.feed({ type: "pool-low", podIdx: 1, kind: "out4", count: 8 });
    assert.deepEqual(bench.reported, ["plaintext", "rapid-reset", "out4"]);
  });
});

describe("draining", () => {
  test("lets open connections finish, then says so", () => {
    const bench = new Bench().serve();
    const event = bench.outbound({ address: "8.8.8.8", port: 1 });
    bench.engine.feed(event);
    let done = 0;
    bench.traffic.drain(10_000, () => {
      done += 1;
    });
    assert.equal(bench.engine.draining, true);
    assert.equal(done, 0);
    bench.close(event);
    assert.equal(done, 1);
    assert.equal(bench.clock.pending, 0);
  });

  test("cuts what is left at the deadline, waiters included, and is not held up by an engine that says nothing", () => {
    const bench = new Bench();
    bench.traffic.addPod({ podIdx: 1, workloadUid: web.uid, addresses: [], preservesSource: true });
    const open = bench.outbound({ address: "8.8.8.8", port: 1 });
    const waits = bench.outbound({ address: "10.0.0.2", port: 1 });
    bench.engine.feed(open);
    bench.engine.feed(waits);
    let done = 0;
    bench.traffic.drain(1000, () => {
      done += 1;
    });
    bench.clock.advance(1000);
    const types = bench.engine.answers
      .filter((one) => one.conn === open.conn || one.conn === waits.conn)
      .map((one) => one.type);
    assert.ok(types.includes("close") && types.includes("refuse"));
    bench.close(open, "closed-by-answer");
    assert.equal(bench.last().outcome.cause, "draining");
    assert.equal(done, 0);
    bench.clock.advance(1000);
    assert.equal(done, 1);
    assert.equal(bench.engine.feed(bench.outbound({ address: "8.8.8.8", port: 1 }))?.type, "refuse");
  });

  test("of an idle thread is done at once", () => {
    const bench = new Bench().serve();
    let done = 0;
    bench.traffic.drain(1000, () => {
      done += 1;
    });
    assert.equal(done, 1);
    assert.equal(bench.clock.pending, 0);
  });
});
