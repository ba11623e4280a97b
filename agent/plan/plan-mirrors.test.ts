// Copies of requests: which share, where to, by whose policy, and what of the request is left out of them.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { seeded } from "../../test/support/dice.ts";
import { RouteTables } from "../l7/route-tables.ts";
import { type FieldEdits, type HttpRule, noEdits, type RouteMirror } from "../mesh/http-rule.ts";
import { FakeMesh, httpRoute, policy, routeBackend, service, workload } from "../mesh/mesh.fake.ts";
import { emptyOperation } from "../mesh/policies.ts";
import { evaluatorOf } from "../policy/evaluate.ts";
import type { RequestWorld, RoutedFacts } from "./forwarded-request.ts";
import { isDrawn, type MirrorPlan, planMirror } from "./plan-mirrors.ts";
import { planRequest } from "./plan-request.ts";

const web = workload("web", { addresses: ["10.0.0.1"] });
const near = workload("near", { addresses: ["10.0.0.3"] });
const far = workload("far", { addresses: ["10.0.0.2"], node: "n2" });
const services = [
  service("api", { vips: ["10.96.0.1"], selector: { app: "far" } }),
  service("near", { vips: ["10.96.0.2"] }),
  service("far", { vips: ["10.96.0.3"] }),
  service("empty", { vips: ["10.96.0.4"] }),
];
const withoutCredentials: FieldEdits = { ...noEdits, remove: ["authorization"] };

const mirror = (
  to: string,
  share: readonly [number, number] = [1, 1],
  requestEdits = withoutCredentials,
): RouteMirror => ({
  backend: { ...routeBackend(to), requestEdits },
  numerator: share[0],
  denominator: share[1],
});

type Given = {
  readonly rule?: Partial<HttpRule>;
  readonly change?: (mesh: FakeMesh) => void;
  readonly random?: () => number;
  readonly request?: Partial<RoutedFacts>;
};

function planned(mirrors: readonly RouteMirror[], given: Given = {}): readonly MirrorPlan[] {
  const { rule = {}, change = () => {}, random = seeded(7), request = {} } = given;
  const mesh = new FakeMesh([web, near, far], services);
  mesh.routes.push(httpRoute("shop/api", {}, { backends: [routeBackend("shop/far")], ...rule, mirrors }));
  change(mesh);
  const { judge, readsPaths } = evaluatorOf(mesh);
  const servedHere = (uid: string): boolean => uid === near.uid || uid === web.uid;
  const routes = new RouteTables(mesh);
  const world: RequestWorld = { mesh, servedHere, load: () => 0, random, judge, readsPaths, routes };
  const facts: RoutedFacts = {
    source: web,
    client: { address: "10.0.0.1", port: 4000 },
    dialled: { address: "10.96.0.1", port: 80 },
    ...{ method: "GET", target: "/", authority: "api", header: () => [], ...request },
  };
  const plan = planRequest(facts, world);
  assert.ok(plan.kind === "forward" && plan.entry !== null);
  const { entry } = plan;
  return mirrors
    .filter((each) => isDrawn(each, world))
    .map((each) => planMirror(facts, { entry, mirror: each }, world));
}

const said = (plans: readonly MirrorPlan[]): readonly string[] =>
  plans.map((each) => (each.kind === "send" ? `${each.to} by ${each.plan.route.kind}` : `${each.to} ${each.why}`));

test("each mirror has its own way: through a tunnel, between two pods of the node, or none", () => {
  const all = [mirror("shop/far"), mirror("shop/near"), mirror("shop/empty"), mirror("shop/gone")];
  assert.deepEqual(said(planned(all)), [
    "shop/far:80 by tunnel",
    "shop/near:80 by local",
    "shop/empty:80 no-endpoint",
    "shop/gone:80 bad-backend",
  ]);
  const nobody = { ...mirror("shop/far"), backend: { ...routeBackend("shop/far"), service: null } };
  assert.deepEqual(said(planned([nobody])), ["-:80 bad-backend"]);
  assert.deepEqual(planned([]), []);
});

test("between two pods of a node the target's policy judges what it would get, with what the rule has changed", () => {
  const from = { file: "mesh.yaml", line: 9, column: 5 };
  const operations = [{ ...emptyOperation, paths: [{ kind: "exact", value: "/new" }] as const }];
  const rule = { sources: [], operations, when: [], unreadable: [], from };
  const onPath = (mesh: FakeMesh): void =>
    void mesh.policies.push(policy("DENY", [rule], { selector: { app: "near" } }));
  assert.deepEqual(said(planned([mirror("shop/near")], { change: onPath })), ["shop/near:80 by local"]);
  const rewrite = { hostname: null, path: { kind: "full", value: "/new" } } as const;
  assert.deepEqual(said(planned([mirror("shop/near")], { change: onPath, rule: { rewrite } })), [
    "shop/near:80 policy",
  ]);
});

test("what the rule changes is changed in copies, too, and credentials that it writes are taken out again", () => {
  const requestEdits = {
    set: [
      { name: "authorization", value: "x" },
      { name: "a", value: "1" },
    ],
    add: [],
    remove: [],
  };
  const rewrite = { hostname: "other", path: { kind: "full", value: "/new" } } as const;
  const [kept, plain] = planned([mirror("shop/far", [1, 1], noEdits), mirror("shop/far")], {
    rule: { requestEdits, rewrite },
  });
  assert.ok(kept?.kind === "send" && plain?.kind === "send");
  assert.deepEqual([plain.plan.target, plain.plan.authority], ["/new", "other"]);
  assert.deepEqual(plain.plan.requestEdits, [
    { op: "set", name: "a", value: "1" },
    { op: "remove", name: "authorization" },
  ]);
  assert.deepEqual(
    kept.plan.requestEdits.map(({ name }) => name),
    ["authorization", "a"],
  );
});

test("a fraction is exact: of all draws of one denominator so many fall to it, and each mirror draws for itself", () => {
  const seed = randomInt(2 ** 31);
  const random = seeded(seed);
  const whole = (most: number): number => Math.floor(random() * (most + 1));
  for (let nth = 0; nth < 300; nth++) {
    const denominator = 1 + whole(400);
    const numerator = whole(denominator);
    let hits = 0;
    for (let draw = 0; draw < denominator; draw++) {
      // A uniform number lies anywhere in its part of the unit.
      const point = (draw + random()) / denominator;
      hits += planned([mirror("shop/far", [numerator, denominator])], { random: () => point }).length;
    }
    assert.equal(hits, numerator, `seed ${seed}: ${numerator}/${denominator}`);
  }
  const draws = [0.4, 0.6, 0.4];
  const three = [1, 2, 3].map(() => mirror("shop/far", [1, 2]));
  assert.equal(planned(three, { random: () => draws.shift() ?? 0 }).length, 2);
});
