// Connections to a Service that has routes: served, and each request planned, answered, recorded and judged again for itself.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Answer, Forward } from "../engine/answers.ts";
import type { ConnRef, RequestEnded, RequestEvent } from "../engine/events.ts";
import { RequestFields } from "../engine/request-fields.ts";
import { noEdits } from "../mesh/http-rule.ts";
import type { RequestBalancing } from "../mesh/traffic-policy.ts";
import type { TryEnd } from "../plan/retry.ts";
import { allow, deny, httpRoute, routeBackend, service, workload } from "./mesh.fake.ts";
import type { Change } from "./rejudge.ts";
import { Bench, near, web } from "./traffic.fake.ts";

const vip = { address: "10.96.0.1", port: 80 };
const nothing: Change = { workloads: new Set(), authorizationPolicies: new Set(), peerAuthentications: new Set() };
const policyChanged: Change = { ...nothing, authorizationPolicies: new Set(["shop/rules"]) };

class Routed {
  readonly bench = new Bench({ settle: () => "http", readsPaths: () => true, wallMs: () => 0 });

  constructor(to = "shop/api", rule: Parameters<typeof httpRoute>[2] = {}, requests: RequestBalancing = "cost") {
    const loadBalancing = { preference: [], mode: "unspecified", health: "only-healthy", requests } as const;
    const [api] = this.bench.mesh.serviceList;
    this.bench.mesh.serviceList = [
      ...(api === undefined ? [] : [{ ...api, loadBalancing }]),
      service("near", { vips: ["10.96.0.2"], loadBalancing }),
      service("none", { vips: [] }),
    ];
    this.bench.mesh.routes.push(httpRoute("shop/api", {}, { backends: [routeBackend(to)], ...rule }));
    this.bench.serve();
  }

  open(): ConnRef {
    const event = this.bench.outbound(vip);
    assert.equal(this.bench.engine.feed(event)?.type, "serve");
    return event;
  }

  ask(
    { conn, generation }: ConnRef,
    request: number,
    target = "/",
    method = "GET",
    protocol: RequestEvent["protocol"] = "http1",
  ): Answer | undefined {
    const event: RequestEvent = {
      ...{
        type: "request",
        conn,
        generation,
        podIdx: 1,
        request,
        protocol,
        method,
        target,
        authority: "api",
      },
      fields: new RequestFields(Buffer.alloc(0), 0, 0),
    };
    return this.bench.engine.feed(event);
  }

  forward(ref: ConnRef, request: number): Forward {
    const answer = this.ask(ref, request);
    assert.ok(answer?.type === "forward", JSON.stringify(answer));
    return answer;
  }

  fail({ conn, generation }: ConnRef, request: number, failed: TryEnd, method = "GET"): Answer {
    const asked = {
      podIdx: 1,
      request,
      protocol: "http1",
      method,
      target: "/",
      authority: "api",
      durationUs: 1,
    } as const;
    const fields = new RequestFields(Buffer.alloc(0), 0, 0);
    const answer = this.bench.engine.feed({ type: "try-failed", conn, generation, ...asked, fields, ...failed });
    assert.ok(answer !== undefined);
    return answer;
  }

  end(
    { conn, generation }: ConnRef,
    request: number,
    outcome: RequestEnded["outcome"] = "answered",
    status = 200,
    answeredUs = 0,
  ): void {
    const sizes = { requestBytes: 1, responseBytes: 2, durationUs: 3, answeredUs, refusal: "none", status } as const;
    this.bench.engine.feed({ type: "request-ended", conn, generation, podIdx: 1, request, outcome, ...sizes });
  }
}

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

describe("requests are balanced for each caller", () => {
  /** Ten endpoints, of which the fourth takes ten times as long; the share that it got. */
  function shareOfSlow(requests: RequestBalancing): { readonly slow: number; readonly most: number } {
    const routed = new Routed("shop/api", {}, requests);
    const { bench } = routed;
    for (let nth = 2; nth <= 10; nth++)
      bench.mesh.replace(workload(`api-${nth}`, { addresses: [`10.0.1.${nth}`], node: "n2", labels: { app: "api" } }));
    const got = new Map<string, number>();
    const ref = routed.open();
    for (let nth = 1; nth <= 1_000; nth++) {
      const { origin = 0 } = routed.forward(ref, nth);
      const to = bench.engine.origins.get(origin)?.route.to.address ?? "";
      got.set(to, (got.get(to) ?? 0) + 1);
      const answeredUs = to === "10.0.1.4" ? 50_000 : 5_000;
      bench.clock.advance(answeredUs / 1_000);
      routed.end(ref, nth, "answered", 200, answeredUs);
    }
    assert.deepEqual(bench.faults, []);
    return { slow: (got.get("10.0.1.4") ?? 0) / 1_000, most: Math.max(...got.values()) / 1_000 };
  }

  test("by cost: who is ten times as slow has 2 % at most, and no other has it all", () => {
    const { slow, most } = shareOfSlow("cost");
    assert.ok(slow <= 0.02 && most < 0.2, `${slow} ${most}`);
  });

  test("round robin, random and least request do not look at latency", () => {
    assert.deepEqual(shareOfSlow("round-robin"), { slow: 0.1, most: 0.1 });
    for (const each of ["random", "least-request"] as const) {
      const { slow, most } = shareOfSlow(each);
      assert.ok(slow > 0.06 && most < 0.15, `${each}: ${slow} ${most}`);
    }
  });

  test("a try that failed costs its endpoint the requests that follow", () => {
    const routed = new Routed();
    const { bench } = routed;
    bench.mesh.replace(workload("api-4", { addresses: ["10.0.0.4"], node: "n2", labels: { app: "api" } }));
    const refused = { failure: "not-reached", status: 111, cause: "connect-failed", isSent: false } as const;
    const ref = routed.open();
    let failures = 0;
    for (let nth = 1; nth <= 200; nth++) {
      const { origin = 0 } = routed.forward(ref, nth);
      if (bench.engine.origins.get(origin)?.route.to.address === "10.0.0.4") {
        failures += 1;
        assert.equal(routed.fail(ref, nth, refused).type, "forward");
      }
      bench.clock.advance(1);
      routed.end(ref, nth, "answered", 200, 1_000);
    }
    assert.ok(failures >= 1 && failures <= 10, `${failures}`);
  });
});

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

describe("mirrors of a rule", () => {
  const mirror = (to: string) => ({ backend: routeBackend(to), numerator: 1, denominator: 1 });

  test("a copy goes over an origin of its own, also where its request goes, and only with the first try", () => {
    const routed = new Routed("shop/api", { mirrors: [mirror("shop/api"), mirror("shop/near")] });
    const { bench } = routed;
    const ref = routed.open();
    const first = routed.forward(ref, 1);
    assert.equal(first.mirrors?.length, 2);
    const origins = [first.origin, ...(first.mirrors ?? []).map(({ origin }) => origin)];
    assert.equal(new Set(origins).size, 3);
    routed.end(ref, 1);
    const again = routed.forward(ref, 2);
    assert.deepEqual([again.origin, ...(again.mirrors ?? []).map(({ origin }) => origin)], origins, "and is known");
    const lost = routed.fail(ref, 2, { failure: "not-reached", isSent: false, cause: "connect-failed", status: 111 });
    assert.ok(lost.type !== "forward" || lost.mirrors === undefined);
    routed.end(ref, 2);
    assert.deepEqual(bench.requests.at(-1)?.mirrors, ["shop/api:80", "shop/near:80"]);
  });

  test("copies between pods of this node lose their origins when a policy or a pod changes; others keep theirs", () => {
    const routed = new Routed("shop/api", { mirrors: [mirror("shop/near"), mirror("shop/api")] });
    const { bench } = routed;
    bench.judge = () => allow;
    const ref = routed.open();
    const { mirrors: before = [] } = routed.forward(ref, 1);
    assert.deepEqual(
      before.map(({ origin }) => bench.engine.origins.get(origin)?.route.type),
      ["dial", "tunnel"],
    );
    bench.traffic.storeChanged(policyChanged);
    assert.deepEqual(
      before.map(({ origin }) => bench.engine.origins.has(origin)),
      [false, true],
    );
    routed.end(ref, 1);
    const { mirrors: after = [] } = routed.forward(ref, 2);
    assert.notEqual(after[0]?.origin, before[0]?.origin, "a number that is gone may be on its way");
    assert.equal(after[1]?.origin, before[1]?.origin);
    bench.judge = () => deny("denied-by-policy");
    bench.traffic.storeChanged(policyChanged);
    routed.end(ref, 2);
    assert.deepEqual(
      routed.forward(ref, 3).mirrors?.map(({ origin }) => origin),
      [after[1]?.origin],
    );
  });

  test("what may not be sent, or ends, is counted, and its request goes on", () => {
    const routed = new Routed("shop/api", { mirrors: [mirror("shop/near"), mirror("shop/none"), mirror("shop/gone")] });
    const { bench } = routed;
    bench.judge = ({ destination }) => (destination.uid === near.uid ? deny("denied-by-policy") : allow);
    const ref = routed.open();
    assert.equal(routed.forward(ref, 1).mirrors, undefined);
    routed.end(ref, 1);
    assert.equal(bench.requests.at(-1)?.mirrors, undefined);
    for (const end of ["answered", "too-large", "answered"] as const)
      bench.engine.feed({ type: "mirror-ended", podIdx: 1, end });
    assert.deepEqual(bench.recorder.takeDeltas().mirrored, {
      ...{ policy: 1, "no-endpoint": 1, "bad-backend": 1, answered: 2, "too-large": 1 },
    });
    assert.deepEqual(bench.faults, []);
  });
});
