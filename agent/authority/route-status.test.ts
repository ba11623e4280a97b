// What an HTTPRoute's status says of its Services: accepted or why not, whether its backends are there, and nothing of others' entries.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type KnownPort, parentsOf, ROUTE_CONTROLLER } from "./route-status.ts";

type Json = Readonly<Record<string, unknown>>;
const NOW = "2026-01-02T03:04:05Z";
const version = { kind: "HTTPRoute", namespace: "shop", name: "api", resourceVersion: "7" };
const services: Readonly<Record<string, readonly KnownPort[]>> = {
  "shop/api": [
    { port: 80, name: "http" },
    { port: 8080, name: "alt" },
  ],
  "bank/far": [{ port: 80, name: "" }],
};
const parent = { group: "", kind: "Service", name: "api" };

function route(spec: Json, status: Json = {}): Json {
  const metadata = { name: "api", namespace: "shop", generation: 3, resourceVersion: "7" };
  return { apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", metadata, spec, status };
}
const parents = (object: Json): readonly Json[] | null => parentsOf(object, version, (name) => services[name], NOW);

/** `Accepted=True/Accepted` and the like, of the first entry. */
function said(spec: Json): Readonly<Record<string, string>> {
  const [entry] = parents(route({ parentRefs: [parent], ...spec })) ?? [];
  assert.equal(entry?.controllerName, ROUTE_CONTROLLER);
  const conditions = entry.conditions as readonly Readonly<Record<string, unknown>>[];
  for (const { observedGeneration, lastTransitionTime } of conditions)
    assert.deepEqual([observedGeneration, lastTransitionTime], [3, NOW]);
  return Object.fromEntries(conditions.map((each) => [each.type, `${each.status} ${each.reason}: ${each.message}`]));
}
const backends = (...backendRefs: readonly Json[]): Json => ({ rules: [{ backendRefs }] });

test("a route that agents honour is accepted, and its backends are there", () => {
  assert.deepEqual(said(backends({ name: "api", port: 80 })), {
    Accepted: "True Accepted: ",
    ResolvedRefs: "True ResolvedRefs: ",
  });
});

test("what agents refuse is not accepted, with each place; what counts for nothing is named", () => {
  const refused =
    said({ rules: [{ retry: { attempts: 2 }, sessionPersistence: { idleTimeout: "1m" }, wrong: 1 }] }).Accepted ?? "";
  assert.match(refused, /^False UnsupportedValue: /);
  for (const place of [
    "spec.rules[0].sessionPersistence.idleTimeout is not honoured",
    'spec.rules[0] has no field "wrong"',
  ])
    assert.ok(refused.includes(place), refused);
  assert.match(said({ hostnames: ["a.b"] }).Accepted ?? "", /^True Accepted: spec\.hostnames is not honoured/);
});

test("a parent that is not there, or has no such port", () => {
  const of = (over: Json): string => said({ parentRefs: [{ ...parent, ...over }] }).Accepted ?? "";
  assert.equal(of({ name: "none" }), "False NoMatchingParent: there is no Service shop/none");
  assert.equal(of({ port: 81 }), "False NoMatchingParent: the Service shop/api has no such port");
  assert.equal(of({ port: 80, sectionName: "alt" }), "False NoMatchingParent: the Service shop/api has no such port");
  assert.equal(of({ port: 8080, sectionName: "alt" }), "True Accepted: ");
  assert.equal(of({ namespace: "bank", name: "far" }), "True Accepted: ");
});

test("targets of mirrors resolve as backends do", () => {
  const of = (...targets: readonly Json[]): string => {
    const filters = targets.map((backendRef) => ({ type: "RequestMirror", requestMirror: { backendRef } }));
    const rules = [{ backendRefs: [{ name: "api", port: 80 }], filters }];
    const { Accepted = "", ResolvedRefs = "" } = said({ parentRefs: [parent], rules });
    assert.equal(Accepted, "True Accepted: ");
    return ResolvedRefs;
  };
  assert.equal(of({ name: "api", port: 80 }), "True ResolvedRefs: ");
  assert.equal(
    of({ name: "api", port: 80 }, { name: "none", port: 80 }),
    "False BackendNotFound: there is no Service shop/none",
  );
});

test("backends that do not resolve", () => {
  const of = (...refs: readonly Json[]): string => said(backends(...refs)).ResolvedRefs ?? "";
  assert.equal(of({ name: "none", port: 80 }), "False BackendNotFound: there is no Service shop/none");
  assert.equal(of({ name: "api", port: 81 }), "False BackendNotFound: Service shop/api: it has no port 81");
  assert.equal(of({ name: "api" }), "False BackendNotFound: Service shop/api: the backend has no port");
  const odd = { group: "example.com", kind: "Bucket", name: "b" };
  assert.equal(
    of(odd, { name: "none", port: 1 }),
    "False InvalidKind: a backend is a Bucket, and no Service; there is no Service shop/none",
  );
});

test("a backend of another namespace is for callers of the route's own", () => {
  const far = backends({ name: "far", namespace: "bank", port: 80 });
  assert.equal(
    said(far).ResolvedRefs,
    "False RefNotPermitted: callers of other namespaces are not led to Service bank/far",
  );
  const consumer = { parentRefs: [{ ...parent, namespace: "bank", name: "far" }], ...far };
  assert.equal(said(consumer).ResolvedRefs, "True ResolvedRefs: ");
});

test("others' entries stay, ours go with their parents, and what is so already is not written", () => {
  const other = { parentRef: { name: "gate" }, controllerName: "example.com/gate", conditions: [] };
  const spec = { parentRefs: [{ name: "gate" }, { ...parent, port: 80 }], ...backends({ name: "api", port: 80 }) };
  const written = parents(route(spec, { parents: [other] }));
  assert.deepEqual(written?.[0], other);
  assert.deepEqual(written?.[1]?.parentRef, { ...parent, port: 80 });
  const known = { parents: written };
  assert.equal(
    parentsOf(route(spec, known), version, (name) => services[name], "2027-01-01T00:00:00Z"),
    null,
  );
  assert.deepEqual(parents(route({ parentRefs: [{ name: "gate" }] }, known)), [other]);
  assert.equal(parents(route({ parentRefs: [{ name: "gate" }] })), null);
  // A condition that is as it was keeps its time.
  const later = parentsOf(
    route({ ...spec, ...backends({ name: "no", port: 1 }) }, known),
    version,
    (n) => services[n],
    "2027",
  );
  const [accepted, resolved] = (later?.[1]?.conditions ?? []) as readonly Json[];
  assert.deepEqual([accepted?.lastTransitionTime, resolved?.lastTransitionTime], [NOW, "2027"]);
});

test("whatever an object holds, it is read", () => {
  for (const object of [null, 7, {}, { spec: 1 }, { spec: { parentRefs: [7, null, {}] }, status: { parents: 3 } }])
    assert.equal(
      parentsOf(object, version, () => [], NOW),
      null,
    );
  assert.match(said({ rules: 7 }).Accepted ?? "", /^False UnsupportedValue/);
});

test("a TCPRoute and a TLSRoute are read by their own readers", () => {
  const of = (kind: string, spec: Json): string => {
    const object = { ...route({ parentRefs: [parent], ...spec }), kind };
    const [entry] = parentsOf(object, { ...version, kind }, (name) => services[name], NOW) ?? [];
    const conditions = entry?.conditions as readonly Readonly<Record<string, unknown>>[];
    return conditions.map(({ status, reason, message }) => `${status} ${reason}: ${message}`).join("; ");
  };
  const rules = [{ backendRefs: [{ name: "api", port: 80 }] }];
  assert.equal(of("TCPRoute", { rules }), "True Accepted: ; True ResolvedRefs: ");
  assert.equal(of("TLSRoute", { hostnames: ["a.example"], rules }), "True Accepted: ; True ResolvedRefs: ");
  assert.match(of("TLSRoute", { rules }), /^False UnsupportedValue: .*hostnames/);
  assert.match(of("TCPRoute", { rules: [...rules, ...rules] }), /^False UnsupportedValue: .*rules/);
  assert.match(of("TCPRoute", { rules: [{ backendRefs: [{ name: "far", port: 80 }] }] }), /False BackendNotFound/);
});

test("a GRPCRoute is read as agents read it, and takes the place of an HTTPRoute about the same ports", () => {
  const grpc = (spec: Json): Json => ({ ...route(spec), kind: "GRPCRoute" });
  const ofGrpc = (spec: Json): readonly unknown[] =>
    (parentsOf(grpc(spec), { ...version, kind: "GRPCRoute" }, (name) => services[name], NOW) ?? []).flatMap(
      ({ conditions }) => (conditions as readonly Json[]).map(({ reason }) => reason),
    );
  const rules = [{ matches: [{ method: { service: "a.B" } }], backendRefs: [{ name: "api", port: 80 }] }];
  assert.deepEqual(ofGrpc({ parentRefs: [parent], rules }), ["Accepted", "ResolvedRefs"]);
  const refused = [{ matches: [{ method: { service: "a/b" } }] }];
  assert.deepEqual(ofGrpc({ parentRefs: [parent], rules: refused }), ["UnsupportedValue", "ResolvedRefs"]);

  const http = (over: Json, ...others: readonly Json[]): unknown => {
    const parentRefs = [{ ...parent, ...over }];
    const [entry] = parentsOf(route({ parentRefs }), version, (name) => services[name], NOW, others) ?? [];
    const [accepted] = (entry ?? assert.fail()).conditions as readonly Json[];
    return accepted?.reason;
  };
  const about = (over: Json): Json => grpc({ parentRefs: [{ ...parent, ...over }] });
  assert.equal(http({}, about({})), "Conflicted");
  assert.equal(http({ port: 80 }, about({ port: 80 })), "Conflicted");
  assert.equal(http({ port: 80 }, about({ sectionName: "alt" }), about({ port: 80 })), "Conflicted");
  assert.equal(http({}, about({ port: 80 })), "Accepted");
  assert.equal(http({ port: 80 }, about({ port: 8080 })), "Accepted");
  assert.equal(http({ port: 80 }, about({ name: "far" })), "Accepted");
});

test("a route of connections whose port is another kind's is in conflict; where nobody has named the port, nobody says so", () => {
  const rules = [{ backendRefs: [{ name: "api", port: 80 }] }];
  const reason = (kind: "TCPRoute" | "TLSRoute", over: Json, ...others: readonly Json[]): unknown => {
    const hostnames = kind === "TLSRoute" ? { hostnames: ["a.example"] } : {};
    const object = { ...route({ parentRefs: [{ ...parent, ...over }], rules, ...hostnames }), kind };
    const [entry] = parentsOf(object, { ...version, kind }, (name) => services[name], NOW, others) ?? [];
    return ((entry ?? assert.fail()).conditions as readonly Json[])[0]?.reason;
  };
  const http = (over: Json): Json => route({ parentRefs: [{ ...parent, ...over }] });
  for (const kind of ["TCPRoute", "TLSRoute"] as const) {
    assert.equal(reason(kind, { port: 80 }, http({ port: 80 })), "Conflicted");
    assert.equal(reason(kind, {}, http({ port: 80 }), http({ sectionName: "alt" })), "Conflicted");
    assert.equal(reason(kind, {}, http({ port: 80 })), "Accepted", "its other port is left");
    assert.equal(reason(kind, { port: 80 }, http({})), "Accepted");
    assert.equal(reason(kind, { port: 80 }, http({ port: 8080 })), "Accepted");
  }
});
