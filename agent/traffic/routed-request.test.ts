// Connections to a Service that has routes: served, and each request planned, answered, recorded and judged again for itself.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { RequestFields } from "../engine/request-fields.ts";
import { noEdits } from "../mesh/http-rule.ts";
import type { httpRoute } from "../mesh/mesh.fake.ts";
import type { TryEnd } from "../plan/retry.ts";
import { allow, deny } from "../policy/policy.fake.ts";
import { policyChanged, Routed, vip } from "./routed-request.fake.ts";
import { near, web } from "./traffic.fake.ts";

describe("a connection to a port that has routes", () => {
  test("is served, and a request goes to an origin of its pod, which is used again", () => {
    const routed = new Routed("shop/api", { timeoutMs: 500 });
    const { bench } = routed;
    const ref = routed.open();
    const first = routed.forward(ref, 1);
    assert.equal(first.timeoutMs, 500);
    const origin = bench.engine.origins.get(first.origin ?? 0);
    assert.deepEqual(
      [origin?.podIdx, origin?.route.type, origin?.route.to],
      [1, "tunnel", { address: "10.0.0.2", port: 15_008 }],
    );
    routed.end(ref, 1);
    assert.equal(routed.forward(ref, 2).origin, first.origin);
    routed.end(ref, 2);
    assert.equal(routed.forward(routed.open(), 1).origin, first.origin);
    const [record] = bench.requests;
    assert.deepEqual(record?.route, { name: "shop/api[0]", answer: null });
    assert.deepEqual(
      [record?.connection.reporter, record?.connection.hbone],
      ["source", { address: "10.0.0.2", port: 8080 }],
    );
    assert.equal(record?.connection.destination.workload?.name, "api");
    assert.equal(record?.decision, null);
    bench.close(ref);
    assert.deepEqual([bench.last().record.service?.name, bench.last().outcome.flag], ["api", "-"]);
    assert.deepEqual(bench.faults, []);
  });

  test("other ports, other addresses and another client's address are as they were", () => {
    const { bench } = new Routed();
    bench.judge = () => allow;
    assert.equal(bench.engine.feed(bench.outbound({ address: "10.0.0.2", port: 8080 }))?.type, "tunnel");
    assert.equal(bench.engine.feed(bench.outbound({ ...vip, port: 81 }))?.type, "refuse");
    const foreign = bench.outbound(vip, { source: { address: "10.0.0.9", port: 1 } });
    assert.equal(bench.engine.feed(foreign)?.type, "refuse");
  });

  test("waits for the pod's certificate before it is served, and a request without it is answered 503", () => {
    const routed = new Routed();
    const { bench } = routed;
    bench.traffic.identityDropped(11, web.identity.text);
    const event = bench.outbound(vip);
    assert.equal(bench.engine.feed(event), undefined);
    bench.traffic.identityInstalled(21, web.identity.text);
    assert.equal(bench.lastAnswer()?.type, "serve");
    bench.traffic.identityDropped(21, web.identity.text);
    const answer = routed.ask(event, 1);
    assert.deepEqual(answer?.type === "reply" ? answer.status : answer, 503);
  });

  test("requests that do not go on are answered and recorded with why", () => {
    const matches = [{ path: { kind: "prefix", value: "/a" } as const, method: null, headers: [], query: [] }];
    const routed = new Routed("shop/none", { matches });
    const ref = routed.open();
    const statuses = ["/", "/a"].map((target, index) => {
      const answer = routed.ask(ref, index + 1, target);
      assert.ok(answer?.type === "reply");
      routed.end(ref, index + 1, "replied", answer.status);
      return answer.status;
    });
    assert.deepEqual(statuses, [404, 503]);
    assert.deepEqual(
      routed.bench.requests.map(({ route, flag, details }) => [route, flag, details]),
      [
        [{ name: "", answer: "no-route" }, "NR", "route_not_found"],
        [{ name: "shop/api[0]", answer: "no-endpoint" }, "UH", "no_healthy_upstream"],
      ],
    );
  });

  test("a redirect has its location", () => {
    const redirect = { scheme: "https", hostname: null, path: null, port: null, status: 301 } as const;
    const routed = new Routed("shop/api", { backends: [], redirect });
    const answer = routed.ask(routed.open(), 1, "/x?y");
    assert.ok(answer?.type === "reply");
    assert.deepEqual(
      [answer.status, answer.headers],
      [301, [{ op: "set", name: "location", value: "https://api/x?y" }]],
    );
  });

  test("what changes of a request and of its response is in the answer", () => {
    const requestEdits = { ...noEdits, set: [{ name: "x-a", value: "1" }] };
    const rewrite = { hostname: "b.shop", path: { kind: "full", value: "/b" } as const };
    const routed = new Routed("shop/api", { requestEdits, responseEdits: { ...noEdits, remove: ["server"] }, rewrite });
    const answer = routed.forward(routed.open(), 1);
    assert.deepEqual([answer.target, answer.authority], ["/b", "b.shop"]);
    assert.deepEqual(answer.requestHeaders, [{ op: "set", name: "x-a", value: "1" }]);
    assert.deepEqual(answer.responseHeaders, [{ op: "remove", name: "server" }]);
  });

  test("rules that change hold from the next request; without any the Service's own endpoints get it", () => {
    const routed = new Routed("shop/none");
    const { bench } = routed;
    const ref = routed.open();
    assert.equal(routed.ask(ref, 1)?.type, "reply");
    routed.end(ref, 1, "replied", 503);
    bench.mesh.routes = [];
    assert.equal(bench.engine.origins.get(routed.forward(ref, 2).origin ?? 0)?.route.type, "tunnel");
  });
});

describe("a fault of a rule", () => {
  const until = { expiresMs: 1_000_000, delay: null, abort: null, reset: null };

  test("delays a request once, whatever asks about it meanwhile, and then plans it by what holds", () => {
    const routed = new Routed("shop/api", { fault: { ...until, delay: { fixed: 300, percent: 100 } } });
    const { bench } = routed;
    const ref = routed.open();
    assert.equal(routed.ask(ref, 1), undefined);
    bench.clock.advance(299);
    assert.equal(routed.ask(ref, 1), undefined, "another change has asked");
    bench.clock.advance(1);
    assert.deepEqual(bench.lastAnswer(), { type: "ask-again", conn: ref.conn, generation: ref.generation });
    assert.equal(routed.ask(ref, 1)?.type, "forward");
    routed.end(ref, 1);
    assert.equal(bench.requests.at(-1)?.route?.name, "shop/api[0]");
    assert.equal(bench.requests.at(-1)?.flag, "DI");
    assert.equal(routed.ask(ref, 2), undefined, "the next request is delayed for itself");
  });

  test("answers, or resets the request, and the log says that it was injected", () => {
    const aborted = new Routed("shop/api", { fault: { ...until, abort: { status: 418, percent: 100 } } });
    const first = aborted.open();
    const answer = aborted.ask(first, 1);
    assert.ok(answer?.type === "reply" && answer.status === 418);
    aborted.end(first, 1, "replied", 418);
    const { flag, route } = aborted.bench.requests.at(-1) ?? assert.fail();
    assert.deepEqual([flag, route?.answer], ["FI", "injected"]);
    const reset = new Routed("shop/api", { fault: { ...until, reset: { percent: 100 } } });
    const second = reset.open();
    assert.equal(reset.ask(second, 1)?.type, "reset");
    reset.end(second, 1, "cut", 0);
    assert.equal(reset.bench.requests.at(-1)?.flag, "FI");
  });
});

describe("a request to a pod of this node", () => {
  test("is judged here, dialled as the caller, and counted as open until it ends", () => {
    const routed = new Routed("shop/near");
    const { bench } = routed;
    bench.judge = ({ request }) => (typeof request === "string" ? deny("no-allow-matched") : allow);
    const ref = routed.open();
    const answer = routed.forward(ref, 1);
    const origin = bench.engine.origins.get(answer.origin ?? 0);
    assert.deepEqual(origin?.route, { type: "dial", podIdx: 2, to: { address: "10.0.0.3", port: 8080 }, from: null });
    routed.end(ref, 1);
    assert.equal(bench.requests[0]?.decision?.verdict, "allow");
    bench.judge = () => deny("denied-by-policy");
    const refused = routed.ask(ref, 2);
    assert.deepEqual(refused?.type === "reply" ? [refused.status, refused.body] : refused, [
      403,
      "RBAC: access denied",
    ]);
    routed.end(ref, 2, "replied", 403);
    assert.deepEqual(bench.requests[1]?.route, { name: "shop/api[0]", answer: "policy" });
  });

  test("is judged again when policy changes: open it ends with its connection, between requests nothing does", () => {
    const routed = new Routed("shop/near");
    const { bench } = routed;
    bench.judge = () => allow;
    const ref = routed.open();
    routed.forward(ref, 1);
    routed.end(ref, 1);
    bench.judge = () => deny("denied-by-policy");
    const before = bench.engine.answers.length;
    bench.traffic.storeChanged(policyChanged);
    assert.equal(bench.engine.answers.length, before, "it belongs to nobody");
    bench.judge = () => allow;
    routed.forward(ref, 2);
    bench.traffic.storeChanged(policyChanged);
    bench.clock.advance(1_000);
    assert.equal(bench.lastAnswer()?.type, "ask-again");
    assert.equal(routed.ask(ref, 2), undefined, "it may go on");
    bench.judge = () => deny("denied-by-policy");
    assert.equal(routed.ask(ref, 2)?.type, "close");
    bench.close(ref, "closed-by-answer");
    assert.equal(bench.requests.at(-1)?.decision?.verdict, "deny");
  });

  test("a pod that goes takes its origins along", () => {
    const routed = new Routed("shop/near");
    const { bench } = routed;
    routed.forward(routed.open(), 1);
    assert.equal(bench.engine.origins.size, 1);
    bench.traffic.removePod(2);
    assert.equal(bench.engine.origins.size, 0);
    bench.mesh.replace({ ...near, node: "n2" });
    const moved = routed.forward(routed.open(), 1);
    assert.equal(bench.engine.origins.get(moved.origin ?? 0)?.route.type, "tunnel");
  });
});

describe("requests of HTTP/2 on a connection that is served", () => {
  test("each has a plan, tries and a record of its own, in whatever order they end", () => {
    const routed = new Routed("shop/api", { retry: { codes: [503], attempts: 1, backoffMs: 0 } });
    const { bench } = routed;
    const ref = routed.open();
    for (const request of [1, 2, 3])
      assert.equal(routed.ask(ref, request, `/${request}`, "GET", "http2")?.type, "forward");
    const refused: TryEnd = { failure: "status", status: 503, cause: null, isSent: true };
    assert.equal(routed.fail(ref, 2, refused).type, "hold");
    assert.equal(routed.fail(ref, 2, refused).type, "forward");
    assert.equal(routed.fail(ref, 2, refused).type, "pass");
    routed.end(ref, 3);
    routed.end(ref, 2, "answered", 503);
    routed.end(ref, 1);
    assert.deepEqual(
      bench.requests.map(({ path, attempts, status }) => [path, attempts, status]),
      [
        ["/3", 1, 200],
        ["/2", 2, 503],
        ["/1", 1, 200],
      ],
    );
    assert.deepEqual(bench.faults, []);
  });

  test("whatever changes, those that are judged here are judged again, each for itself", () => {
    const routed = new Routed("shop/near");
    const { bench } = routed;
    const ref = routed.open();
    assert.equal(routed.ask(ref, 1, "/1", "GET", "http2")?.type, "forward");
    assert.equal(routed.ask(ref, 2, "/2", "GET", "http2")?.type, "forward");
    bench.clock.advance(1_000);
    bench.judge = ({ request }) =>
      typeof request === "object" && request.path.text === "/2" ? deny("denied-by-policy") : allow;
    bench.traffic.storeChanged(policyChanged);
    assert.equal(bench.lastAnswer()?.type, "ask-again");
    assert.equal(routed.ask(ref, 1, "/1", "GET", "http2"), undefined);
    const fell = routed.ask(ref, 2, "/2", "GET", "http2");
    assert.ok(fell?.type === "reply" && fell.status === 403, JSON.stringify(fell));
    routed.end(ref, 2, "cut");
    // Without open requests nothing is asked.
    routed.end(ref, 1);
    const before = bench.engine.answers.length;
    bench.traffic.storeChanged(policyChanged);
    assert.equal(bench.engine.answers.length, before);
    assert.deepEqual(bench.faults, []);
  });
});

test("a call of gRPC brings its own deadline, and the sooner of two holds", () => {
  const fields = (timeout: string): RequestFields => {
    const name = "grpc-timeout";
    const bytes = Buffer.alloc(4 + name.length + timeout.length);
    new Uint16Array(bytes.buffer, bytes.byteOffset, 2).set([name.length, timeout.length]);
    bytes.write(name + timeout, 4, "latin1");
    return new RequestFields(bytes, 0, bytes.length);
  };
  const timeoutOf = (rule: Parameters<typeof httpRoute>[2], protocol: "http1" | "http2", timeout: string): number => {
    const routed = new Routed("shop/api", rule);
    const { conn, generation } = routed.open();
    const asked = { method: "POST", target: "/a.B/C", authority: "api", fields: fields(timeout) };
    const event = { type: "request", conn, generation, podIdx: 1, request: 1, protocol, ...asked } as const;
    const answer = routed.bench.engine.feed(event);
    assert.ok(answer?.type === "forward", JSON.stringify(answer));
    return answer.timeoutMs ?? 0;
  };
  assert.equal(timeoutOf({}, "http2", "250m"), 250);
  assert.equal(timeoutOf({ timeoutMs: 100 }, "http2", "250m"), 100);
  assert.equal(timeoutOf({ timeoutMs: 1_000 }, "http2", "250m"), 250);
  assert.equal(timeoutOf({ timeoutMs: 1_000 }, "http2", "soon"), 1_000);
  assert.equal(timeoutOf({}, "http1", "250m"), 0);
});
