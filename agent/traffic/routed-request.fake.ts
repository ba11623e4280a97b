// tests · a Service with a route, and what the engine says of requests to it: begun, failed at a try, ended.
import assert from "node:assert/strict";
import type { Answer, Forward } from "../engine/answers.ts";
import type { ConnRef, RequestEnded, RequestEvent } from "../engine/events.ts";
import { RequestFields } from "../engine/request-fields.ts";
import { httpRoute, routeBackend, service } from "../mesh/mesh.fake.ts";
import type { RequestBalancing } from "../mesh/traffic-policy.ts";
import type { TryEnd } from "../plan/retry.ts";
import type { Change } from "./rejudge.ts";
import { Bench } from "./traffic.fake.ts";

/** Of the Service that has the route. */
export const vip = { address: "10.96.0.1", port: 80 };
const nothing: Change = { workloads: new Set(), authorizationPolicies: new Set(), peerAuthentications: new Set() };
export const policyChanged: Change = { ...nothing, authorizationPolicies: new Set(["shop/rules"]) };

/** A data thread whose mesh has one route of one rule, which leads to `to`; `shop/near` is a pod of this node, `shop/none` is nobody. */
export class Routed {
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
