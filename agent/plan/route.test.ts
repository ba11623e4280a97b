import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { seeded } from "../../test/support/dice.ts";
import { FakeMesh, httpRoute, service, streamRoute, workload } from "../mesh/mesh.fake.ts";
import type { Service } from "../mesh/service.ts";
import type { StreamRoute } from "../mesh/stream-route.ts";
import type { Workload } from "../mesh/workload.ts";
import { clientNeedOf } from "./client-need.ts";
import { claimantsOf, type Route, type RouteWorld, routeOf } from "./route.ts";

const web = workload("web", { addresses: ["10.0.0.1", "fd00::1"] });
const api = workload("api", { addresses: ["10.0.0.2", "fd00::2"], node: "n2" });
const near = workload("near", { addresses: ["10.0.0.3"] });
const legacy = workload("legacy", { addresses: ["10.0.0.4"], protocol: "none" });

function world(
  workloads: readonly Workload[],
  services: readonly Service[] = [],
  served: readonly Workload[] = [web, near],
): RouteWorld {
  return {
    mesh: new FakeMesh(workloads, services),
    servedHere: (uid) => served.some((one) => one.uid === uid),
    load: () => 0,
    random: seeded(1),
  };
}
const to = (address: string, port: number, services: readonly Service[] = []): Route =>
  routeOf(web, { address, port }, world([web, api, near, legacy], services));

describe("the order of docs/reference/hbone.md#where-a-connection-goes", () => {
  test("own ports first, whoever has the address", () => {
    for (const port of [15001, 15006, 15008]) {
      for (const address of ["127.0.0.1", "127.3.2.1", "::1"]) {
        assert.deepEqual(to(address, port), { kind: "refuse", reason: "self-call", service: null });
      }
      for (const address of ["10.0.0.2", "10.0.0.4", "8.8.8.8", "10.96.0.1", "fd00::2"]) {
        assert.deepEqual(to(address, port, [service("api")]), { kind: "refuse", reason: "own-port", service: null });
      }
    }
  });

  test("a service's target port may not be one of ours either", () => {
    for (const targetPort of [15001, 15006, 15008]) {
      const ports = [{ name: "x", port: 80, targetPort, appProtocol: "" }];
      const route = to("10.96.0.1", 80, [service("api", { ports })]);
      assert.equal(route.kind === "refuse" ? route.reason : "", "own-port");
    }
  });

  test("a service goes to an endpoint, with its own and the service's identities expected", () => {
    const route = to("10.96.0.1", 80, [service("api", { subjectAltNames: ["spiffe://other/ns/a/sa/b"] })]);
    assert.ok(route.kind === "tunnel");
    assert.deepEqual(route.to, { address: "10.0.0.2", port: 15008 });
    assert.deepEqual(route.target, { address: "10.0.0.2", port: 8080 });
    assert.equal(route.authority, "10.0.0.2:8080");
    assert.deepEqual(route.expected, [api.identity.text, "spiffe://other/ns/a/sa/b"]);
    assert.equal(route.service?.name, "api");
  });

  test("a named target port is the workload's own", () => {
    const ports = [{ name: "http", port: 80, targetPort: "web", appProtocol: "" }];
    const named = workload("api", { addresses: ["10.0.0.2"], ports: { web: 9000 } });
    const route = routeOf(web, { address: "10.96.0.1", port: 80 }, world([web, named], [service("api", { ports })]));
    assert.ok(route.kind === "tunnel");
    assert.equal(route.authority, "10.0.0.2:9000");
    const unnamed = routeOf(web, { address: "10.96.0.1", port: 80 }, world([web, api], [service("api", { ports })]));
    assert.equal(unnamed.kind === "refuse" ? unnamed.reason : "", "no-healthy-endpoint");
  });

  test("an address of the family that was dialled, and never of the other", () => {
    const route = to("fd00:96::1", 80, [service("api", { vips: ["fd00:96::1"] })]);
    assert.ok(route.kind === "tunnel");
    assert.equal(route.authority, "[fd00::2]:8080");
    const only4 = workload("api", { addresses: ["10.0.0.2"] });
    const both = [service("api", { vips: ["10.96.0.1", "fd00:96::1"] })];
    assert.equal(routeOf(web, { address: "10.96.0.1", port: 80 }, world([web, only4], both)).kind, "tunnel");
    const other = routeOf(web, { address: "fd00:96::1", port: 80 }, world([web, only4], both));
    assert.equal(other.kind === "refuse" ? other.reason : "", "no-healthy-endpoint");
  });

  test("a VIP without the port, or without anybody, refuses", () => {
    const noPort = to("10.96.0.1", 81, [service("api")]);
    assert.equal(noPort.kind === "refuse" ? noPort.reason : "", "no-service-port");
    const nobody = to("10.96.0.1", 80, [service("ghost")]);
    assert.equal(nobody.kind === "refuse" ? nobody.reason : "", "no-healthy-endpoint");
    assert.equal(nobody.kind === "refuse" ? nobody.service?.name : "", "ghost");
  });

  test("an explicit endpoint nobody knows, or a workload outside the mesh, is direct", () => {
    const endpoints = [{ address: "192.0.2.7", ports: { http: 5432 }, weight: 1, healthy: true }];
    const db = to("10.96.0.1", 80, [service("db", { selector: null, endpoints })]);
    assert.ok(db.kind === "direct");
    assert.deepEqual(db.target, { address: "192.0.2.7", port: 5432 });
    const old = to("10.0.0.4", 80);
    assert.equal(old.kind === "direct" ? old.why : "", "not-in-mesh");
  });

  test("passthrough goes where it was dialled", () => {
    const loadBalancing = { preference: [], mode: "passthrough", health: "only-healthy" } as const;
    const route = to("10.96.0.1", 80, [service("ext", { loadBalancing })]);
    assert.ok(route.kind === "direct");
    assert.deepEqual(route.target, { address: "10.96.0.1", port: 80 });
    assert.equal(route.why, "passthrough-service");
  });

  test("a workload's address: tunnel, local when served here, direct when unknown", () => {
    const far = to("10.0.0.2", 8080);
    assert.equal(far.kind === "tunnel" ? far.authority : "", "10.0.0.2:8080");
    assert.equal(to("10.0.0.3", 8080).kind, "local");
    assert.equal(to("10.0.0.1", 8080).kind, "local");
    const unknown = to("8.8.8.8", 443);
    assert.equal(unknown.kind === "direct" ? unknown.why : "", "unknown-address");
  });

  test("an address that two workloads claim is refused, however they are reached; the pod that has it here keeps it", () => {
    const rival = workload("rival", { addresses: ["10.0.0.2"], node: "n3" });
    const reasonOf = (route: Route): string => (route.kind === "refuse" ? route.reason : route.kind);
    const dialled = (address: string, all: readonly Workload[], services: readonly Service[] = []): Route =>
      routeOf(web, { address, port: 80 }, world(all, services, [web, near]));
    assert.equal(reasonOf(dialled("10.0.0.2", [web, api, rival])), "address-conflict");
    assert.deepEqual(claimantsOf(dialled("10.0.0.2", [web, api, rival])), [api, rival]);
    // Outside the mesh a guess would send plaintext to a stranger.
    const outside = [api, rival].map((one): Workload => ({ ...one, protocol: "none" }));
    assert.equal(reasonOf(dialled("10.0.0.2", [web, ...outside])), "address-conflict");

    const named = service("named", {
      selector: null,
      endpoints: [{ address: "10.0.0.2", ports: {}, weight: 1, healthy: true }],
    });
    assert.equal(reasonOf(dialled("10.96.0.1", [web, api, rival], [service("api")])), "address-conflict");
    assert.equal(reasonOf(dialled("10.96.0.1", [web, api, rival], [named])), "address-conflict");
    assert.deepEqual(claimantsOf(dialled("10.96.0.1", [web, api, rival], [named])), [api, rival]);
    const other = workload("api-2", { addresses: ["10.0.0.9"], labels: { app: "api" }, node: "n3" });
    const passedOver = dialled("10.96.0.1", [web, api, rival, other], [service("api")]);
    assert.equal(passedOver.kind === "tunnel" ? passedOver.target.address : "", "10.0.0.9");

    const far = workload("far", { addresses: near.addresses, node: "n3" });
    const kept = dialled("10.0.0.3", [web, near, far]);
    assert.equal(kept.kind === "local" ? kept.destination.uid : reasonOf(kept), near.uid);
    const both = world([web, near, far], [], [web, near, far]);
    assert.equal(reasonOf(routeOf(web, { address: "10.0.0.3", port: 80 }, both)), "address-conflict");
  });

  test("a workload of this node that is not served yet is tunnelled, never sent in plaintext", () => {
    const route = routeOf(web, { address: "10.0.0.3", port: 80 }, world([web, near], [], [web]));
    assert.equal(route.kind, "tunnel");
  });
});

describe("a Service's port with a route of connections", () => {
  const far = service("far", { vips: ["10.96.0.2"], selector: { app: "api" } });
  const theirs = service("theirs", { namespace: "bank", vips: ["10.96.0.4"] });
  const near1 = service("near", { vips: ["10.96.0.3"] });
  const called = service("called", { ports: [{ name: "", port: 80, targetPort: 80, appProtocol: "" }] });
  const tcp = (given: Partial<StreamRoute> = {}): StreamRoute => streamRoute("TCPRoute", "shop/called", given);
  const tls = (hostnames: readonly string[], to: string, given: Partial<StreamRoute> = {}): StreamRoute =>
    streamRoute("TLSRoute", "shop/called", {
      ...{ hostnames, name: to, backends: [{ service: `shop/${to}`, port: 80, weight: 1 }] },
      ...given,
    });
  const along = (routes: readonly StreamRoute[], serverName: string | null = null, from = web): string => {
    const one = world([web, api, near, teller], [far, near1, called, theirs]);
    (one.mesh as FakeMesh).streamRoutes.push(...routes);
    const route = routeOf(from, { address: "10.96.0.1", port: 80 }, one, serverName);
    return route.kind === "refuse"
      ? route.reason
      : `${route.service?.name} ${route.target.address}:${route.target.port}`;
  };
  const teller = workload("teller", { namespace: "bank", addresses: ["10.0.0.8"] });

  test("its backends have it, by weight, at the address of their own family", () => {
    const shares = [
      { service: "shop/far", port: 80, weight: 3 },
      { service: "shop/near", port: 80, weight: 1 },
    ];
    const one = world([web, api, near], [far, near1, called]);
    (one.mesh as FakeMesh).streamRoutes.push(tcp({ backends: shares }));
    const counts = { far: 0, near: 0 };
    for (let nth = 0; nth < 4_000; nth += 1) {
      const { service: to } = routeOf(web, { address: "10.96.0.1", port: 80 }, one);
      counts[to?.name === "far" ? "far" : "near"] += 1;
    }
    assert.ok(Math.abs(counts.far - 3_000) < 150, `${counts.far} of 3,000`);
  });

  test("what leads nowhere is refused, and no other backend has its share", () => {
    assert.equal(along([tcp({ backends: [] })]), "no-route-backend");
    for (const backend of [
      { service: "shop/gone", port: 80, weight: 1 },
      { service: "shop/far", port: 81, weight: 1 },
      { service: null, port: 80, weight: 1 },
    ])
      assert.equal(along([tcp({ backends: [backend] })]), "no-route-backend");
    assert.equal(along([tcp({ backends: [{ service: "shop/called", port: 80, weight: 1 }] })]), "no-healthy-endpoint");
    // Of another namespace than the route's, with the identity of a caller of a third.
    const lent = tcp({ namespace: "shop", backends: [{ service: "shop/far", port: 80, weight: 1 }] });
    assert.equal(along([lent], null, teller), "far 10.0.0.2:8080");
    const other = tcp({ namespace: "shop", backends: [{ service: "bank/theirs", port: 80, weight: 1 }] });
    assert.equal(along([other], null, teller), "no-route-backend");
    assert.equal(along([other]), "no-healthy-endpoint", "of the route's own namespace");
  });

  test("a TLSRoute by the server's name; it counts before a TCPRoute, and behind an HTTPRoute", () => {
    const both = [tls(["a.example"], "far"), tls(["*.example"], "near"), tcp()];
    assert.equal(along(both, "a.example"), "far 10.0.0.2:8080");
    assert.equal(along(both, "b.example"), "near 10.0.0.3:8080");
    assert.equal(along(both, "elsewhere"), "no-tls-route");
    assert.equal(along(both, null), "no-tls-route");
    const mesh = new FakeMesh([web], [called]);
    mesh.streamRoutes.push(...both);
    const [port = assert.fail()] = called.ports;
    const need = (namespace = "shop"): string | null => clientNeedOf(called, port, namespace, mesh);
    assert.equal(need(), "tls-route");
    mesh.routes.push(httpRoute("shop/called"));
    assert.equal(need(), "http-route");
    // What is called HTTP a TLSRoute is about only where it names the port.
    const http = { ...port, name: "http" };
    mesh.routes.splice(0);
    assert.equal(clientNeedOf(called, http, "shop", mesh), "tcp-route");
  });

  test("a consumer's route of any kind replaces all of the producer's, for its own namespace alone", () => {
    const consumer = tcp({ namespace: "bank", backends: [{ service: "shop/near", port: 80, weight: 1 }] });
    const all = [tls(["a.example"], "far"), consumer];
    assert.equal(along(all, null, teller), "near 10.0.0.3:8080");
    assert.equal(along(all, "a.example"), "far 10.0.0.2:8080");
  });
});
