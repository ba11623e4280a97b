import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { FakeMesh, httpRoute, peerAuthentication, policy, ruleFor, service, workload } from "../mesh/mesh.fake.ts";
import type { MtlsMode } from "../mesh/policies.ts";
import type { Service } from "../mesh/service.ts";
import { plaintextFacts } from "../plan/connection-facts.ts";
import { judgeOf } from "../policy/evaluate.ts";
import type { OutEntry } from "./maps.ts";
import { allOutEntries } from "./plaintext-verdicts.fake.ts";
import { failDirect, inEntries, type VerdictWorld } from "./plaintext-verdicts.ts";

const api = workload("api", { addresses: ["10.0.0.2", "fd00::2"] });
const old = workload("old", { addresses: ["10.0.0.9"], protocol: "none" });

function world(change: (mesh: FakeMesh) => void = () => {}): VerdictWorld {
  const mesh = new FakeMesh([api, old], [service("api")]);
  change(mesh);
  return { mesh, judge: judgeOf(mesh) };
}
const selector = { app: "api" };

describe("what the kernel may answer alone", () => {
  test("PERMISSIVE without a policy passes; STRICT refuses; a policy asks the agent", () => {
    assert.deepEqual(inEntries(4, api, world()), [{ podIdx: 4, port: 0, verdict: "pass" }]);
    const strict = world((mesh) => mesh.peers.push(peerAuthentication("STRICT")));
    assert.deepEqual(inEntries(4, api, strict), [{ podIdx: 4, port: 0, verdict: "refuse" }]);
    const judged = world((mesh) => mesh.policies.push(policy("DENY", [ruleFor(["a/ns/b/sa/c"])])));
    assert.deepEqual(inEntries(4, api, judged), [{ podIdx: 4, port: 0, verdict: "agent" }]);
    const both = world((mesh) => {
      mesh.peers.push(peerAuthentication("STRICT"));
      mesh.policies.push(policy("ALLOW", [ruleFor([])]));
    });
    assert.deepEqual(inEntries(4, api, both), [{ podIdx: 4, port: 0, verdict: "refuse" }]);
  });

  test("AUDIT and dry-run see plaintext too", () => {
    for (const given of [policy("AUDIT", [ruleFor([])]), policy("DENY", [ruleFor([])], { dryRun: true })]) {
      assert.equal(
        inEntries(
          4,
          api,
          world((mesh) => mesh.policies.push(given)),
        )[0]?.verdict,
        "agent",
      );
    }
  });

  test("a port of its own is an entry of its own, when it differs", () => {
    const portLevel = { 8080: "PERMISSIVE", 9090: "STRICT" } as const;
    const ports = world((mesh) => mesh.peers.push(peerAuthentication("STRICT", { selector, portLevel })));
    assert.deepEqual(inEntries(4, api, ports), [
      { podIdx: 4, port: 0, verdict: "refuse" },
      { podIdx: 4, port: 8080, verdict: "pass" },
    ]);
    assert.equal(failDirect(api, ports), false);
    assert.deepEqual(
      allOutEntries(ports).filter((one) => one.address === "fd00::2"),
      [
        { address: "fd00::2", port: 0, verdict: "refuse" },
        { address: "fd00::2", port: 8080, verdict: "direct" },
      ],
    );
  });

  test("a VIP goes direct on its ports only where each endpoint would", () => {
    const of = (entries: readonly OutEntry[]) => entries.filter((one) => one.address === "10.96.0.1");
    assert.deepEqual(of(allOutEntries(world())), [
      { address: "10.96.0.1", port: 0, verdict: "unanswered-refuse" },
      { address: "10.96.0.1", port: 80, verdict: "direct" },
    ]);
    const second = workload("strict", { addresses: ["10.0.0.3"], labels: { app: "api", hard: "yes" } });
    const mixed = world((mesh) => {
      mesh.list.push(second);
      mesh.peers.push(peerAuthentication("STRICT", { selector: { hard: "yes" } }));
    });
    assert.equal(of(allOutEntries(mixed))[1]?.verdict, "refuse");
    assert.equal(of(allOutEntries(world((mesh) => mesh.list.splice(0))))[1]?.verdict, "unanswered-refuse");
  });

  test("a VIP is unanswered at ports that the Service has not, and where no client would find an endpoint", () => {
    const at80 = (change: (mesh: FakeMesh) => void) =>
      allOutEntries(world(change)).find((one) => one.address === "10.96.0.1" && one.port === 80)?.verdict;
    const sick = (mesh: FakeMesh) => mesh.list.splice(0, 9, ...mesh.list.map((one) => ({ ...one, healthy: false })));
    const serviceWith = (mesh: FakeMesh, given: Partial<Service["loadBalancing"]>) =>
      mesh.serviceList.splice(
        0,
        9,
        ...mesh.serviceList.map((one) => ({ ...one, loadBalancing: { ...one.loadBalancing, ...given } })),
      );
    assert.equal(at80(sick), "unanswered-direct");
    assert.equal(
      at80((mesh) => {
        sick(mesh);
        serviceWith(mesh, { health: "allow-all" });
      }),
      "direct",
    );
    assert.equal(
      at80((mesh) => {
        sick(mesh);
        serviceWith(mesh, { mode: "passthrough" });
      }),
      "direct",
    );
    assert.equal(
      at80((mesh) => mesh.list.splice(0, 9, ...mesh.list.map((one) => ({ ...one, weight: 0 })))),
      "unanswered-direct",
    );
    // What is at the address besides answers, and nobody can say that it does not.
    assert.equal(
      at80((mesh) => serviceWith(mesh, { mode: "strict", preference: ["zone"] })),
      "direct",
    );
  });

  test("a port that a route is about is an agent's, also where nobody is an endpoint: without an agent it refuses", () => {
    const at80 = (change: (mesh: FakeMesh) => void) =>
      allOutEntries(world(change)).find((one) => one.address === "10.96.0.1" && one.port === 80)?.verdict;
    assert.equal(
      at80((mesh) => mesh.routes.push(httpRoute("shop/api"))),
      "refuse",
    );
    assert.equal(
      at80((mesh) => mesh.routes.push(httpRoute("shop/api", { namespace: "bank" }))),
      "refuse",
    );
    assert.equal(
      at80((mesh) => {
        mesh.list.splice(0);
        mesh.routes.push(httpRoute("shop/api"));
      }),
      "refuse",
    );
    const other = { parents: [{ service: "shop/api", port: 81, portName: null }] };
    assert.equal(
      at80((mesh) => mesh.routes.push(httpRoute("shop/api", other))),
      "direct",
    );
  });

  test("of a Service that fails direct a port with a route goes direct, where policy lets plaintext to each endpoint", () => {
    const at80 = (change: (mesh: FakeMesh) => void) =>
      allOutEntries(
        world((mesh) => {
          mesh.serviceList.splice(0, 1, service("api", { failsDirect: true }));
          mesh.routes.push(httpRoute("shop/api"));
          change(mesh);
        }),
      ).find((one) => one.address === "10.96.0.1" && one.port === 80)?.verdict;
    assert.equal(
      at80(() => {}),
      "direct",
    );
    assert.equal(
      at80((mesh) => mesh.peers.push(peerAuthentication("STRICT"))),
      "refuse",
    );
    assert.equal(
      at80((mesh) => mesh.policies.push(policy("DENY", [ruleFor(["a/ns/b/sa/c"])]))),
      "refuse",
    );
    // Its endpoints are a route's business: with an agent somebody answers, without an agent nobody would.
    assert.equal(
      at80((mesh) => mesh.list.splice(0)),
      "refuse",
    );
  });

  test("nobody outside the mesh has an entry; the pod's flag decides for them", () => {
    assert.equal(
      allOutEntries(world()).some((one) => one.address === "10.0.0.9"),
      false,
    );
    assert.equal(failDirect(api, world()), true);
    assert.equal(
      failDirect(
        api,
        world((mesh) => mesh.policies.push(policy("ALLOW", []))),
      ),
      false,
    );
  });
});

test("never weaker than the evaluator: what the kernel passes or sends direct is allowed to every plaintext source", () => {
  const mode = fc.constantFrom<MtlsMode>("UNSET", "DISABLE", "PERMISSIVE", "STRICT");
  const port = fc.constantFrom(80, 8080, 9090);
  const portLevel = fc.dictionary(port.map(String), mode, { maxKeys: 3 });
  const scope = fc.constantFrom(
    { namespace: "istio-system", selector: null },
    { namespace: "shop", selector: null },
    { namespace: "shop", selector },
    { namespace: "shop", selector: { app: "else" } },
    { namespace: "other", selector: null },
  );
  const name = fc.constantFrom("a", "b", "c");
  const peer = fc
    .tuple(mode, portLevel, scope, name)
    .map(([level, ports, where, called]) => peerAuthentication(level, { ...where, portLevel: ports, name: called }));
  const action = fc.constantFrom("ALLOW", "DENY", "AUDIT" as const);
  const principals = fc.subarray(["cluster.local/ns/shop/sa/web", "other/ns/x/sa/y"]);
  const rules = fc.array(
    fc.tuple(principals, fc.subarray([80, 8080])).map(([who, to]) => ruleFor(who, to)),
    { maxLength: 2 },
  );
  const rule = fc
    .tuple(action, rules, scope, fc.boolean())
    .map(([does, list, where, dryRun]) => policy(does, list, { ...where, dryRun }));
  const source = fc.record({
    address: fc.oneof(fc.ipV4(), fc.ipV6()),
    port: fc.integer({ min: 1, max: 65_535 }),
  });
  const asked = fc.oneof(port, fc.integer({ min: 1, max: 65_535 }));
  fc.assert(
    fc.property(
      fc.array(peer, { maxLength: 4 }),
      fc.array(rule, { maxLength: 2 }),
      source,
      asked,
      (peers, policies, from, to) => {
        const one = world((mesh) => {
          mesh.peers.push(...peers);
          mesh.policies.push(...policies);
        });
        const target = { address: "10.0.0.2", port: to };
        const decision = one.judge(plaintextFacts({ client: from, target }, api));
        const inside = new Map(inEntries(4, api, one).map((entry) => [entry.port, entry.verdict]));
        const verdict = inside.get(to) ?? inside.get(0);
        if (verdict === "pass") assert.equal(decision.verdict, "allow");
        // And not needlessly hard: what it refuses, nobody's plaintext may do.
        if (verdict === "refuse") assert.equal(decision.verdict, "deny");
        const outside = new Map(
          allOutEntries(one)
            .filter((entry) => entry.address === "10.0.0.2")
            .map((entry) => [entry.port, entry.verdict]),
        );
        if ((outside.get(to) ?? outside.get(0)) === "direct") assert.equal(decision.verdict, "allow");
      },
    ),
    { numRuns: 3000, verbose: true },
  );
});
