// Tries of a routed request: which failure goes to another endpoint, which is tried again as the rule says, and which is passed on.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Answer } from "../engine/answers.ts";
import { workload } from "../mesh/mesh.fake.ts";
import { allow, deny } from "../policy/policy.fake.ts";
import { policyChanged, Routed } from "./routed-request.fake.ts";
import { near } from "./traffic.fake.ts";

describe("a try that has failed", () => {
  const unreached = { failure: "not-reached", status: 111, cause: "connect-failed", isSent: false } as const;

  test("goes to another endpoint of the backend while nobody has got anything of it, and to none twice", () => {
    const routed = new Routed();
    const { bench } = routed;
    for (const nth of [4, 5, 6, 7])
      bench.mesh.replace(workload(`api-${nth}`, { addresses: [`10.0.0.${nth}`], node: "n2", labels: { app: "api" } }));
    const ref = routed.open();
    const first = routed.forward(ref, 1);
    assert.equal(first.asks, "unsent");
    const origins = [first.origin];
    for (const _ of [2, 3, 4]) {
      const next = routed.fail(ref, 1, unreached);
      assert.ok(next.type === "forward", next.type);
      origins.push(next.origin);
    }
    assert.equal(new Set(origins.map((origin) => bench.engine.origins.get(origin ?? 0)?.route.to.address)).size, 4);
    assert.equal(routed.fail(ref, 1, unreached).type, "pass");
    routed.end(ref, 1, "not-reached", 503);
    const [record] = bench.requests;
    assert.deepEqual([record?.attempts, record?.flag], [4, "UF"]);
    const last = bench.engine.origins.get(origins.at(-1) ?? 0)?.route.to.address;
    assert.equal(record?.connection.hbone?.address, last);
    assert.deepEqual(bench.faults, []);
  });

  test("is passed on where there is no other endpoint, something was sent, policy has refused, or we lack something", () => {
    const routed = new Routed();
    const ref = routed.open();
    routed.forward(ref, 1);
    assert.equal(routed.fail(ref, 1, unreached).type, "pass");
    const { bench } = routed;
    bench.mesh.replace(workload("api-4", { addresses: ["10.0.0.4"], node: "n2", labels: { app: "api" } }));
    for (const failure of [
      { ...unreached, failure: "lost", cause: null, isSent: true },
      { ...unreached, failure: "timeout", cause: null, isSent: true },
      { ...unreached, failure: "status", status: 503, cause: null, isSent: true },
      { ...unreached, cause: "tunnel-refused", status: 401 },
      { ...unreached, cause: "no-socket", status: 0 },
    ] as const)
      assert.equal(routed.fail(ref, 1, failure).type, "pass", JSON.stringify(failure));
    assert.equal(routed.fail(ref, 2, unreached).type, "pass", "not the open request");
    assert.equal(routed.fail(ref, 1, { ...unreached, cause: "tunnel-refused", status: 503 }).type, "forward");
  });

  test("is judged for the next endpoint as for the first: what policy refuses there is not sent there", () => {
    const routed = new Routed();
    const { bench } = routed;
    bench.judge = () => deny("denied-by-policy");
    const ref = routed.open();
    routed.forward(ref, 1);
    bench.mesh.replace({ ...near, labels: { app: "api" } });
    assert.equal(routed.fail(ref, 1, unreached).type, "pass");
    bench.judge = () => allow;
    const answer = routed.fail(ref, 1, unreached);
    assert.ok(answer.type === "forward");
    assert.equal(bench.engine.origins.get(answer.origin ?? 0)?.route.type, "dial");
    // From here on it is the pod's of this node, and what changes there is about it.
    bench.judge = () => deny("denied-by-policy");
    bench.traffic.storeChanged(policyChanged);
    bench.clock.advance(1_000);
    assert.equal(bench.lastAnswer()?.type, "ask-again");
  });

  test("counts as open at the endpoint that has it, and nowhere else", () => {
    const routed = new Routed("shop/near", {}, "least-request");
    const { bench } = routed;
    bench.mesh.replace({ ...near, labels: { app: "near" } });
    bench.mesh.replace(workload("other", { addresses: ["10.0.0.5"], node: "n2", labels: { app: "near" } }));
    const ref = routed.open();
    const to = (answer: Answer): string =>
      bench.engine.origins.get(answer.type === "forward" ? (answer.origin ?? 0) : 0)?.route.type ?? "";
    const first = to(routed.forward(ref, 1));
    const second = to(routed.fail(ref, 1, unreached));
    assert.notEqual(first, second);
    // Of two endpoints the less loaded is chosen: that which has failed has nothing open by now.
    for (let nth = 0; nth < 5; nth++) {
      const other = routed.open();
      assert.equal(to(routed.forward(other, 1)), first);
      routed.end(other, 1);
    }
  });
});

test("a request that found no connection below the cap is answered as overloaded, and goes nowhere else", () => {
  const overflow = { failure: "not-reached", status: 0, cause: "overflow", isSent: false } as const;
  for (const rule of [{}, { retry: { codes: [503], attempts: 2, backoffMs: 100 } }]) {
    const routed = new Routed("shop/api", rule);
    const { bench } = routed;
    bench.mesh.replace(workload("api-4", { addresses: ["10.0.0.4"], node: "n2", labels: { app: "api" } }));
    const ref = routed.open();
    routed.forward(ref, 1);
    const answer = routed.fail(ref, 1, overflow);
    assert.ok(answer.type === "reply" && answer.status === 503, answer.type);
    assert.deepEqual(answer.headers, [{ op: "set", name: "x-envoy-overloaded", value: "true" }]);
    routed.end(ref, 1, "replied", 503);
    const [record] = bench.requests;
    assert.deepEqual([record?.flag, record?.route?.answer, record?.attempts], ["UO", "overflow", 1]);
  }
});

describe("a rule with retry", () => {
  const rule = { retry: { codes: [503], attempts: 2, backoffMs: 100 } };
  const failed = { failure: "status", status: 503, cause: null, isSent: true } as const;

  test("has a request tried again behind a pause, as often as it says, at other endpoints first", () => {
    const routed = new Routed("shop/api", rule);
    const { bench } = routed;
    bench.mesh.replace(workload("api-4", { addresses: ["10.0.0.4"], node: "n2", labels: { app: "api" } }));
    const ref = routed.open();
    const origins = [routed.forward(ref, 1)];
    for (const nth of [1, 2]) {
      assert.equal(origins.at(-1)?.asks, "any");
      const hold = routed.fail(ref, 1, failed);
      assert.ok(hold.type === "hold" && hold.ms >= 100 * nth && hold.ms <= 150 * nth, JSON.stringify(hold));
      const next = routed.fail(ref, 1, failed);
      assert.ok(next.type === "forward");
      origins.push(next);
    }
    assert.equal(new Set(origins.slice(0, 2).map(({ origin }) => origin)).size, 2);
    assert.equal(origins.at(-1)?.asks, "unsent", "the last try is not asked about");
    assert.equal(routed.fail(ref, 1, failed).type, "pass");
    routed.end(ref, 1, "answered", 503);
    assert.equal(bench.requests[0]?.attempts, 3);
    assert.equal(bench.requests[0]?.flag, "URX");
    routed.forward(ref, 2);
    routed.end(ref, 2);
    assert.equal(bench.requests[1]?.flag, "-", "the first try was served");
    assert.deepEqual(bench.recorder.takeDeltas().retried, { "status|again": 2, "status|spent": 1 });
    assert.deepEqual(bench.faults, []);
  });

  test("says so where the time was over while a request had the last of its tries, and neither before nor behind a response's head", () => {
    const routed = new Routed("shop/api", { ...rule, retry: { ...rule.retry, attempts: 1 } });
    const { bench } = routed;
    const ref = routed.open();
    const late = { ...failed, failure: "timeout", status: 0 } as const;
    const flagOf = (request: number, fails: number, status: number): string | undefined => {
      routed.forward(ref, request);
      for (let nth = 0; nth < fails; nth++) routed.fail(ref, request, late);
      routed.end(ref, request, "deadline", status);
      return bench.requests.at(-1)?.flag;
    };
    assert.equal(flagOf(1, 0, 504), "UT", "the first try");
    assert.equal(flagOf(2, 1, 504), "UT", "the pause before the last");
    assert.equal(flagOf(3, 2, 504), "UT,URX");
    assert.equal(flagOf(4, 2, 200), "UT", "its body");
  });

  test("is for what it names: other statuses pass, and an origin that says nothing counts", () => {
    const routed = new Routed("shop/api", rule);
    const ref = routed.open();
    routed.forward(ref, 1);
    assert.equal(routed.fail(ref, 1, { ...failed, status: 500 }).type, "pass");
    for (const [index, failure] of (["lost", "timeout"] as const).entries()) {
      routed.end(ref, index + 1);
      routed.forward(ref, index + 2);
      assert.equal(routed.fail(ref, index + 2, { ...failed, failure, status: 0 }).type, "hold", failure);
      assert.equal(routed.fail(ref, index + 2, { ...failed, failure, status: 0 }).type, "forward", failure);
    }
  });

  test("is not for methods that may not be repeated, unless the match that took the request names the method", () => {
    const post = { path: { kind: "prefix", value: "" } as const, method: "POST", headers: [], query: [] };
    for (const [given, asks] of [
      [rule, "unsent"],
      [{ ...rule, matches: [post] }, "any"],
    ] as const) {
      const routed = new Routed("shop/api", given);
      const answer = routed.ask(routed.open(), 1, "/", "POST");
      assert.equal(answer?.type === "forward" ? answer.asks : answer, asks);
    }
    const routed = new Routed("shop/api", rule);
    const ref = routed.open();
    routed.ask(ref, 1, "/", "POST");
    assert.equal(routed.fail(ref, 1, failed, "POST").type, "pass");
  });

  test("has a budget: where everything fails, a fifth of it is tried again", () => {
    const routed = new Routed("shop/api", { retry: { codes: [503], attempts: 1, backoffMs: 0 } });
    const { bench } = routed;
    const ref = routed.open();
    let again = 0;
    const requests = 2_000;
    for (let nth = 1; nth <= requests; nth++) {
      bench.clock.advance(1);
      routed.forward(ref, nth);
      const answer = routed.fail(ref, nth, failed);
      if (answer.type === "hold") {
        again += 1;
        assert.equal(routed.fail(ref, nth, failed).type, "forward");
      }
      routed.end(ref, nth, "answered", 503);
      assert.equal(bench.requests.at(-1)?.flag, answer.type === "hold" ? "URX" : "UO");
    }
    assert.ok(again <= 0.2 * requests + 1 && again >= 0.19 * requests, `${again}`);
    assert.equal(bench.recorder.takeDeltas().retried["status|budget"], requests - again);
  });
});
