import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FakeMesh, peerAuthentication, policy, ruleFor, workload } from "../mesh/mesh.fake.ts";
import { spiffeId } from "../mesh/spiffe-id.ts";
import { evaluatorOf, judgeOf } from "../policy/evaluate.ts";
import { limit } from "../policy/policy.fake.ts";
import { plaintextFacts, sameNodeFacts } from "./connection-facts.ts";
import { permissionKey, permissionOf, revocationOf } from "./permission.ts";

const web = workload("web", { addresses: ["10.0.0.1"] });
const api = workload("api", { addresses: ["10.0.0.2"] });
const ends = { client: { address: "10.0.0.1", port: 40_000 }, target: { address: "10.0.0.2", port: 8080 } };
const permission = permissionOf(web, sameNodeFacts(ends, api, web));

function world(change: (mesh: FakeMesh) => void = () => {}) {
  const mesh = new FakeMesh([web, api]);
  change(mesh);
  mesh.policyVersion += 1;
  return { mesh, judge: judgeOf(mesh) };
}

test("what is still allowed may stay; what a policy denies now must end, with its decision", () => {
  assert.equal(revocationOf(permission, world()), null);
  const denied = revocationOf(
    permission,
    world((mesh) => mesh.policies.push(policy("DENY", [ruleFor(["cluster.local/ns/shop/sa/web"])]))),
  );
  assert.partialDeepStrictEqual(denied, {
    refusal: "policy",
    decision: { verdict: "deny", reason: "denied-by-policy" },
  });
});

test("a limit that comes ends what is open unread, and leaves what is read; a shadow limit ends nothing", () => {
  const limited = (mode: "enforce" | "shadow") => {
    const { mesh } = world((changed) => changed.limits.push(limit("all", { mode })));
    return { mesh, ...evaluatorOf(mesh) };
  };
  assert.equal(revocationOf(permission, limited("enforce"))?.refusal, "http-required");
  const read = permissionOf(web, sameNodeFacts(ends, api, web), "or-end");
  assert.equal(revocationOf(read, limited("enforce")), null);
  assert.equal(revocationOf(permission, limited("shadow")), null);
});

test("workloads are looked up as they are now: gone, or with another identity, nothing is allowed", () => {
  const without = (uid: string) =>
    world((mesh) => {
      mesh.list = mesh.list.filter((each) => each.uid !== uid);
    });
  assert.deepEqual(revocationOf(permission, without(web.uid)), { refusal: "unknown-source", decision: null });
  assert.deepEqual(revocationOf(permission, without(api.uid)), { refusal: "unknown-pod", decision: null });
  const other = { ...web, identity: spiffeId("cluster.local", "shop", "other") };
  const changed = world((mesh) => mesh.replace(other));
  assert.deepEqual(revocationOf(permission, changed), { refusal: "unknown-source", decision: null });
});

test("plaintext ends when its destination becomes STRICT; a connection that the far end judges is its affair", () => {
  const plain = permissionOf(null, plaintextFacts(ends, api));
  assert.equal(revocationOf(plain, world()), null);
  const strict = world((mesh) => mesh.peers.push(peerAuthentication("STRICT")));
  assert.equal(revocationOf(plain, strict)?.refusal, "policy");
  assert.equal(revocationOf(permissionOf(web, null), strict), null);
});

test("a permission holds no workload: an open connection must not keep a former mesh alive", () => {
  assert.equal("destination" in (permission.judged ?? {}), false);
});

test("equal keys are judged alike, and only the source port does not matter", () => {
  const anyPort = fc.integer({ min: 1, max: 65_535 });
  const address = fc.constantFrom("10.0.0.1", "10.0.0.9", "fd00::1");
  const anyPermission = fc
    .record({ from: address, port: anyPort, to: fc.constantFrom(80, 8080), plain: fc.boolean(), own: fc.boolean() })
    .map(({ from, port, to, plain, own }) => {
      const both = { client: { address: from, port }, target: { address: "10.0.0.2", port: to } };
      const facts = plain ? plaintextFacts(both, api) : sameNodeFacts(both, api, web);
      return { permission: permissionOf(own ? web : null, facts), rest: JSON.stringify([from, to, plain, own]) };
    });
  fc.assert(
    fc.property(anyPermission, anyPermission, (one, other) => {
      assert.equal(permissionKey(one.permission) === permissionKey(other.permission), one.rest === other.rest);
    }),
    { numRuns: 1_000, verbose: true },
  );
});
