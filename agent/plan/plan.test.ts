import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { seeded } from "../../test/support/dice.ts";
import type { ConnectionFacts } from "../mesh/facts.ts";
import { FakeMesh, service, workload } from "../mesh/mesh.fake.ts";
import type { Decision } from "../policy/decision.ts";
import { allow, deny } from "../policy/policy.fake.ts";
import { type PlanWorld, planInbound, planOutbound, sourceAddressFor } from "./plan.ts";

const web = workload("web", { addresses: ["10.0.0.1", "fd00::1"] });
const near = workload("near", { addresses: ["10.0.0.3"] });
const far = workload("far", { addresses: ["10.0.0.2"], node: "n2" });

function world(decision: Decision, asked: ConnectionFacts[] = []): PlanWorld {
  return {
    mesh: new FakeMesh([web, near, far], [service("near", { vips: ["10.96.0.1", "fd00:96::1"] })]),
    servedHere: (uid) => uid === near.uid || uid === web.uid,
    load: () => 0,
    random: seeded(1),
    judge: (facts) => {
      asked.push(facts);
      return decision;
    },
  };
}

describe("a plan at the source", () => {
  test("judges only what is served here: a denial by the far end is not foreseen", () => {
    const asked: ConnectionFacts[] = [];
    const client = { address: "10.0.0.1", port: 4000 };
    for (const address of ["10.0.0.2", "8.8.8.8"]) {
      const plan = planOutbound(
        { source: web, client, dialled: { address, port: 80 } },
        world(deny("no-allow-matched"), asked),
      );
      assert.equal(plan.verdict, "go");
      assert.equal(plan.decision, null);
    }
    assert.equal(asked.length, 0);
  });

  test("shows the evaluator the application's address and port, never the VIP", () => {
    const asked: ConnectionFacts[] = [];
    const client = { address: "10.0.0.1", port: 4000 };
    const plan = planOutbound(
      { source: web, client, dialled: { address: "10.96.0.1", port: 80 } },
      world(allow, asked),
    );
    assert.equal(plan.verdict, "go");
    assert.deepEqual(asked, [
      {
        sourceAddress: "10.0.0.1",
        sourcePort: 4000,
        sourceIdentity: web.identity,
        destinationAddress: "10.0.0.3",
        destinationPort: 8080,
        destination: near,
        security: "socket",
        request: "strict",
      },
    ]);
  });

  test("a pod's calls to itself are not judged, by its own address or by a Service", () => {
    const asked: ConnectionFacts[] = [];
    const within = {
      ...world(deny("denied-by-policy"), asked),
      mesh: new FakeMesh([near], [service("near", { vips: ["10.96.0.1"] })]),
    };
    const client = { address: "10.0.0.3", port: 4000 };
    for (const address of ["10.0.0.3", "10.96.0.1"]) {
      const plan = planOutbound({ source: near, client, dialled: { address, port: 80 } }, within);
      assert.deepEqual([plan.verdict, plan.route?.kind, plan.facts], ["go", "local", null], address);
    }
    assert.equal(asked.length, 0);
  });

  test("the client's address is of the family that the destination speaks", () => {
    assert.equal(sourceAddressFor(web, "fd00::1", "10.0.0.3"), "10.0.0.1");
    assert.equal(sourceAddressFor(web, "10.0.0.1", "fd00::9"), "fd00::1");
    assert.equal(sourceAddressFor(near, "10.0.0.3", "fd00::9"), "10.0.0.3");
  });

  test("refuses an address that is another's before anything is resolved", () => {
    const client = { address: "10.0.0.3", port: 1 };
    const plan = planOutbound({ source: web, client, dialled: { address: "8.8.8.8", port: 1 } }, world(allow));
    assert.equal(plan.verdict === "refuse" ? plan.refusal : "", "unknown-source");
    assert.equal(plan.decision?.verdict === "deny" ? plan.decision.reason : "", "unknown-source");
  });
});

describe("a plan at the destination", () => {
  const client = { address: "10.0.0.2", port: 4000 };

  test("carries the proof it was given, and the verdict of the evaluator whole", () => {
    const asked: ConnectionFacts[] = [];
    const decision = deny("denied-by-policy");
    const target = { address: "10.0.0.3", port: 80 };
    const within = { mesh: new FakeMesh([near]), judge: world(decision, asked).judge };
    const proved = planInbound({ destination: near, target, client, identity: far.identity }, within);
    const plain = planInbound({ destination: near, target, client, identity: null }, within);
    assert.deepEqual([proved.decision, plain.decision], [decision, decision]);
    assert.deepEqual(
      asked.map((one) => [one.security, one.sourceIdentity]),
      [
        ["mtls", far.identity],
        ["none", null],
      ],
    );
  });

  test("plaintext at an address that the workload does not list is judged as at one that it lists", () => {
    const asked: ConnectionFacts[] = [];
    const target = { address: "172.17.0.1", port: 80 };
    const stranger = { address: "192.0.2.7", port: 4000 };
    const plan = planInbound({ destination: near, target, client: stranger, identity: null }, world(allow, asked));
    assert.deepEqual([plan.verdict, plan.route?.kind], ["go", "local"]);
    assert.deepEqual([asked[0]?.destination, asked[0]?.destinationAddress], [near, "172.17.0.1"]);
    const inside = { ...target, address: "127.0.0.1" };
    const refused = planInbound({ destination: near, target: inside, client, identity: null }, world(allow));
    assert.equal(refused.verdict, "refuse");
  });

  test("plaintext from a member's address is refused where nobody or the member would be refused", () => {
    const target = { address: "10.0.0.3", port: 80 };
    for (const refused of [null, far.identity]) {
      const within = {
        ...world(allow),
        judge: ({ sourceIdentity }: ConnectionFacts) => (sourceIdentity === refused ? deny("denied-by-policy") : allow),
      };
      assert.equal(planInbound({ destination: near, target, client, identity: null }, within).verdict, "refuse");
      // A stranger's address and the destination's own belong to no other member: nobody alone is asked about.
      for (const address of ["192.0.2.7", "10.0.0.3"]) {
        const plan = planInbound({ destination: near, target, client: { address, port: 1 }, identity: null }, within);
        assert.equal(plan.verdict, refused === null ? "refuse" : "go");
      }
    }
    const unmeshed = {
      ...world(deny("denied-by-policy")),
      judge: (facts: ConnectionFacts) => (facts.sourceIdentity === null ? allow : deny("denied-by-policy")),
      mesh: new FakeMesh([near, { ...far, protocol: "none" }]),
    };
    assert.equal(planInbound({ destination: near, target, client, identity: null }, unmeshed).verdict, "go");
    const claimed = { ...unmeshed, mesh: new FakeMesh([near, far, { ...far, uid: "another" }]) };
    assert.equal(planInbound({ destination: near, target, client, identity: null }, claimed).verdict, "refuse");
  });

  test("never reaches an own port or an address that is not the workload's, whoever asks", () => {
    const asked: ConnectionFacts[] = [];
    const within = world(allow, asked);
    for (const target of [
      { address: "10.0.0.3", port: 15_008 },
      { address: "10.0.0.1", port: 80 },
      { address: "127.0.0.1", port: 80 },
    ]) {
      assert.equal(
        planInbound({ destination: near, target, client, identity: far.identity }, within).verdict,
        "refuse",
      );
    }
    assert.equal(asked.length, 0);
  });
});
