// Connections to a Service that has routes: served, and each request planned, answered, recorded and judged again for itself.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Answer, Forward } from "../engine/answers.ts";
import type { ConnRef, RequestEnded, RequestEvent } from "../engine/events.ts";
import { RequestFields } from "../engine/request-fields.ts";
import { noEdits } from "../mesh/http-rule.ts";
import { allow, deny, httpRoute, routeBackend, service } from "./mesh.fake.ts";
import type { Change } from "./rejudge.ts";
import { Bench, near, web } from "./traffic.fake.ts";

const vip = { address: "10.96.0.1", port: 80 };
const nothing: Change = { workloads: new Set(), authorizationPolicies: new Set(), peerAuthentications: new Set() };
const policyChanged: Change = { ...nothing, authorizationPolicies: new Set(["shop/rules"]) };

class Routed {
  readonly bench = new Bench({ settle: () => "http", readsPaths: () => true });

  constructor(to = "shop/api", rule: Parameters<typeof httpRoute>[2] = {}) {
    this.bench.mesh.serviceList.push(service("near", { vips: ["10.96.0.2"] }), service("none", { vips: [] }));
    this.bench.mesh.routes.push(httpRoute("shop/api", {}, { backends: [routeBackend(to)], ...rule }));
    this.bench.serve();
  }

  open(): ConnRef {
    const event = this.bench.outbound(vip);
    assert.equal(this.bench.engine.feed(event)?.type, "serve");
    return event;
  }

  ask({ conn, generation }: ConnRef, request: number, target = "/"): Answer | undefined {
    const event: RequestEvent = {
      ...{
        type: "request",
        conn,
        generation,
        podIdx: 1,
        request,
        protocol: "http1",
        method: "GET",
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

  end(
    { conn, generation }: ConnRef,
    request: number,
    outcome: RequestEnded["outcome"] = "answered",
    status = 200,
  ): void {
    const sizes = { requestBytes: 1, responseBytes: 2, durationUs: 3, refusal: "none", status } as const;
    this.bench.engine.feed({ type: "request-ended", conn, generation, podIdx: 1, request, outcome, ...sizes });
  }
}

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
