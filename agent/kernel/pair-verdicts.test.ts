import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { FakeMesh, httpRoute, peerAuthentication, policy, ruleFor, service, workload } from "../mesh/mesh.fake.ts";
import { emptyOperation, type MtlsMode, type Rule } from "../mesh/policies.ts";
import { nowhere } from "../mesh/source-ref.ts";
import { sameNodeFacts } from "../plan/connection-facts.ts";
import { judgeOf } from "../policy/evaluate.ts";
import { pairVerdicts, podVips } from "./pair-verdicts.ts";
import type { VerdictWorld } from "./plaintext-verdicts.ts";

const web = workload("web", { addresses: ["10.0.0.1", "fd00::1"] });
const api = workload("api", { addresses: ["10.0.0.2", "fd00::2"] });
const far = workload("far", { addresses: ["10.0.1.9"], node: "n2", labels: { app: "api" } });
const webOnly = ruleFor(["cluster.local/ns/shop/sa/web"]);

function world(change: (mesh: FakeMesh) => void = () => {}): VerdictWorld {
  const mesh = new FakeMesh([web, api], [service("api", { vips: ["10.96.0.1", "fd00:96::1"] })]);
  change(mesh);
  return { mesh, judge: judgeOf(mesh) };
}

describe("a pair of pods of this node", () => {
  test("joined without a policy and under STRICT, since the kernel proves who calls", () => {
    const join = [{ port: 0, verdict: "join" }];
    assert.deepEqual(pairVerdicts(web, api, world()), join);
    assert.deepEqual(
      pairVerdicts(
        web,
        api,
        world((mesh) => mesh.peers.push(peerAuthentication("STRICT"))),
      ),
      join,
    );
    assert.deepEqual(
      pairVerdicts(
        web,
        api,
        world((mesh) => mesh.policies.push(policy("ALLOW", [webOnly]))),
      ),
      join,
    );
  });

  test("ended where the evaluator denies, each direction and port by itself", () => {
    const allowed = world((mesh) => mesh.policies.push(policy("ALLOW", [webOnly], { selector: { app: "api" } })));
    assert.deepEqual(pairVerdicts(api, web, allowed), [{ port: 0, verdict: "join" }]);
    const other = workload("other", { addresses: ["10.0.0.3"] });
    assert.deepEqual(pairVerdicts(other, api, allowed), [{ port: 0, verdict: "end" }]);
    const closed = world((mesh) => mesh.policies.push(policy("DENY", [{ ...ruleFor([], [9090]), sources: [] }])));
    assert.deepEqual(pairVerdicts(web, api, closed), [
      { port: 0, verdict: "join" },
      { port: 9090, verdict: "end" },
    ]);
  });

  test("what AUDIT or dry-run watches, what a VIP covers, what is not in the mesh: the agent's, and may stay", () => {
    const stay = [{ port: 0, verdict: "stay" }];
    for (const watching of [policy("AUDIT", [webOnly]), policy("DENY", [webOnly], { dryRun: true })]) {
      assert.deepEqual(
        pairVerdicts(
          web,
          api,
          world((mesh) => mesh.policies.push(watching)),
        ),
        stay,
      );
    }
    const covered = world((mesh) => mesh.serviceList.push(service("trap", { vips: ["10.0.0.2"] })));
    assert.deepEqual(pairVerdicts(web, api, covered), stay);
    assert.deepEqual(pairVerdicts(web, { ...api, protocol: "none" }, world()), stay);
  });

  test("AUDIT and dry-run watch the callers and the ports that their rules bear on, and leave the others joined", () => {
    const watched = (action: "ALLOW" | "DENY" | "AUDIT", rule: Rule, dryRun = false) =>
      pairVerdicts(
        web,
        api,
        world((mesh) => mesh.policies.push(policy(action, [rule], { dryRun }))),
      );
    const join = { port: 0, verdict: "join" };
    const stayAt = (port: number) => [join, { port, verdict: "stay" }];
    const at8080 = ruleFor(["cluster.local/ns/shop/sa/web"], [8080]);
    assert.deepEqual(watched("AUDIT", at8080), stayAt(8080));
    assert.deepEqual(watched("DENY", at8080, true), stayAt(8080));
    // What it does not name it would deny.
    assert.deepEqual(watched("ALLOW", at8080, true), [
      { port: 0, verdict: "stay" },
      { port: 8080, verdict: "join" },
    ]);
    assert.deepEqual(watched("AUDIT", ruleFor(["cluster.local/ns/shop/sa/other"], [8080])), [join]);
    // A request may be what it watches for.
    const methods = [{ kind: "exact", value: "GET" }] as const;
    const gets: Rule = { ...at8080, operations: [{ ...emptyOperation, ports: [8080], methods }] };
    assert.deepEqual(watched("AUDIT", gets), stayAt(8080));
    assert.deepEqual(watched("DENY", gets, true), stayAt(8080));
    assert.deepEqual(watched("ALLOW", gets, true), [{ port: 0, verdict: "stay" }]);
  });

  test("no address family in common: nothing to join", () => {
    assert.deepEqual(pairVerdicts(workload("six", { addresses: ["fd00::6"] }), far, world()), [
      { port: 0, verdict: "end" },
    ]);
  });

  test("property: never weaker than the evaluator, for any port and address (seed in the failure)", () => {
    const port = fc.constantFrom(1, 80, 8080, 9090, 65_535);
    const rules = fc.array(
      fc
        .tuple(fc.constantFrom("web", "api", "x"), fc.array(port, { maxLength: 2 }))
        .map(([name, ports]) => ruleFor([`cluster.local/ns/shop/sa/${name}`], ports)),
      { maxLength: 2 },
    );
    const policies = fc.array(
      fc.tuple(fc.constantFrom("ALLOW" as const, "DENY" as const, "AUDIT" as const), rules, fc.boolean()),
      { maxLength: 3 },
    );
    fc.assert(
      fc.property(policies, fc.constantFrom<MtlsMode>("STRICT", "PERMISSIVE"), port, (given, mode, asked) => {
        const there = world((mesh) => {
          for (const [action, all, dryRun] of given) mesh.policies.push(policy(action, all, { dryRun }));
          mesh.peers.push(peerAuthentication(mode));
        });
        const said = pairVerdicts(web, api, there);
        const verdict = (said.find((one) => one.port === asked) ?? said.find((one) => one.port === 0))?.verdict;
        for (const [from, to] of [
          ["10.0.0.1", "10.0.0.2"],
          ["fd00::1", "fd00::2"],
        ] as const) {
          const ends = { client: { address: from, port: 9 }, target: { address: to, port: asked } };
          const facts = sameNodeFacts(ends, api, web);
          const decision = there.judge(facts);
          assert.equal(decision.verdict, verdict === "end" ? "deny" : "allow");
          if (verdict === "join") assert.deepEqual([decision.audited, decision.dryRunDenied], [[], []]);
        }
      }),
    );
  });
});

describe("a virtual address", () => {
  const all = (): boolean => true;

  test("of local pods: each family to its own, with target port and weight", () => {
    assert.deepEqual(podVips(web, world(), all), [
      { vip: "10.96.0.1", port: 80, backends: [{ address: "10.0.0.2", port: 8080, weight: 1 }] },
      { vip: "fd00:96::1", port: 80, backends: [{ address: "fd00::2", port: 8080, weight: 1 }] },
    ]);
  });

  test("a port that a route is about is the agent's, for the callers whose requests it takes", () => {
    const routed = (namespace: string) =>
      podVips(
        web,
        world((mesh) => mesh.routes.push(httpRoute("shop/api", { namespace }))),
        all,
      ).length;
    assert.deepEqual([routed("shop"), routed("bank")], [0, 2]);
  });

  test("a port whose connections are capped is the agent's, who counts them", () => {
    const policy = { outliers: null, maxRequests: null, hash: null, balance: null, warmUp: null, from: nowhere };
    const capped = (given: { readonly maxConnections?: number }) =>
      podVips(
        web,
        world((mesh) => mesh.serviceList.splice(0, 1, service("api", { traffic: { ...policy, ...given } }))),
        all,
      ).length;
    assert.equal(capped({ maxConnections: 5 }), 0);
    assert.ok(capped({}) > 0);
  });

  test("one endpoint that may not be joined makes it the agent's; one that nobody may choose does not", () => {
    const twin = workload("twin", { addresses: ["10.0.0.4", "fd00::4"], labels: { app: "api" } });
    const both = (given: typeof twin) => world((mesh) => mesh.list.push(given));
    assert.equal(podVips(web, both(twin), all)[0]?.backends.length, 2);
    assert.deepEqual(
      podVips(web, both(twin), (destination) => destination !== twin),
      [],
    );
    const sick = { ...twin, healthy: false };
    assert.equal(podVips(web, both(sick), (destination) => destination !== sick)[0]?.backends.length, 1);
    // A pod behind its own address may reach itself: the agent's.
    assert.deepEqual(podVips(api, both(twin), all), []);
  });

  test("no family, weight, number or mode that the kernel cannot do", () => {
    assert.deepEqual(
      podVips(
        web,
        world((mesh) => mesh.replace({ ...api, addresses: ["10.0.0.2"] })),
        all,
      ).map(({ vip }) => vip),
      ["10.96.0.1"],
    );
    assert.deepEqual(
      podVips(
        web,
        world((mesh) => mesh.replace({ ...api, weight: 0.5 })),
        all,
      ),
      [],
    );
    const loadBalancing = { preference: [], mode: "passthrough", health: "only-healthy" } as const;
    assert.deepEqual(
      podVips(
        web,
        world((mesh) => (mesh.serviceList = [service("api", { loadBalancing })])),
        all,
      ),
      [],
    );
    const many = Array.from({ length: 17 }, (_, index) =>
      workload(`many${index}`, { addresses: [`10.0.2.${index}`, `fd00:2::${index}`], labels: { app: "api" } }),
    );
    assert.deepEqual(
      podVips(
        web,
        world((mesh) => mesh.list.push(...many)),
        all,
      ),
      [],
    );
  });
});
