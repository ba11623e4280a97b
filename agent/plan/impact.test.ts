import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeMesh, peerAuthentication, policy, ruleFor, workload } from "../mesh/mesh.fake.ts";
import { emptyOperation } from "../mesh/policies.ts";
import { evaluatorOf } from "../policy/evaluate.ts";
import { impactOf, type ShownConnection } from "./impact.ts";

const web = workload("web", { addresses: ["10.0.0.1"] });
const api = workload("api", { addresses: ["10.0.0.2"] });
const opened = (more: Partial<ShownConnection> = {}): ShownConnection => ({
  reporter: "destination",
  source: { address: "10.0.0.1", port: 40_000 },
  destination: { address: "10.0.0.2", port: 15_008 },
  hbone: { address: "10.0.0.2", port: 8080 },
  security: "mtls",
  sourceIdentity: web.identity.text,
  application: "tcp",
  ...more,
});
const plain = opened({
  hbone: null,
  destination: { address: "10.0.0.2", port: 8080 },
  security: "none",
  sourceIdentity: "",
});

function impact(change: (mesh: FakeMesh) => void, ...shown: readonly ShownConnection[]) {
  const mesh = new FakeMesh([web, api]);
  change(mesh);
  mesh.policyVersion += 1;
  const { judge, settle } = evaluatorOf(mesh);
  return impactOf(shown, { mesh, judge, settle });
}

test("nothing ends where nothing changes; what the far end judges is not counted", () => {
  const far = opened({ reporter: "source" });
  assert.deepEqual(
    impact(() => {}, opened(), plain, far),
    { judged: 2, ends: [] },
  );
});

test("denied connections are counted by caller, port and reason", () => {
  const found = impact(
    (mesh) => mesh.policies.push(policy("DENY", [ruleFor(["cluster.local/ns/shop/sa/web"])])),
    ...[opened(), opened(), opened({ hbone: { address: "10.0.0.2", port: 9090 } }), plain],
  );
  const of = { workload: "shop/api", caller: web.identity.text, reason: "denied-by-policy" };
  assert.equal(found.judged, 4);
  assert.deepEqual(found.ends.slice(0, 2), [
    { ...of, port: 8080, connections: 2 },
    { ...of, port: 9090, connections: 1 },
  ]);
  const strict = impact((mesh) => mesh.peers.push(peerAuthentication("STRICT")), opened(), plain);
  assert.deepEqual(
    strict.ends.map(({ caller, reason }) => [caller, reason]),
    [["10.0.0.1", "mtls-required"]],
  );
});

test("a connection that was opened unread ends when its requests are to be judged; one that is read stays", () => {
  const methods = [{ kind: "exact", value: "GET" }] as const;
  const reads = { ...ruleFor(["cluster.local/ns/shop/sa/web"]), operations: [{ ...emptyOperation, methods }] };
  const change = (mesh: FakeMesh): void => void mesh.policies.push(policy("ALLOW", [reads]));
  const found = impact(change, opened(), opened({ application: "http/1.1" }));
  assert.deepEqual(
    found.ends.map(({ reason, connections }) => [reason, connections]),
    [["http-required", 1]],
  );
});

test("without its destination nothing allows a connection", () => {
  const gone = impact((mesh) => {
    mesh.list = [web];
  }, opened());
  assert.deepEqual(gone.ends, [
    { workload: "10.0.0.2", port: 8080, caller: web.identity.text, reason: "unknown-pod", connections: 1 },
  ]);
});
