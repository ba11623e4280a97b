// A route's author writes paths and fields of requests that are made with their callers' identities. Whatever routes, Services and
// endpoints the author of a namespace writes, no caller of another namespace is led to a workload that is not the author's.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { seeded } from "../../test/support/dice.ts";
import { RouteTables } from "../l7/route-tables.ts";
import { FakeMesh, httpRoute, routeBackend, service, streamRoute, workload } from "../mesh/mesh.fake.ts";
import type { Service } from "../mesh/service.ts";
import type { Workload } from "../mesh/workload.ts";
import { evaluatorOf } from "../policy/evaluate.ts";
import type { RequestWorld } from "./forwarded-request.ts";
import { planMirror } from "./plan-mirrors.ts";
import { planRequest } from "./plan-request.ts";
import { routeOf } from "./route.ts";

const namespaces = ["shop", "bank", "web"] as const;
const vips = ["10.96.0.1", "10.96.0.2", "10.96.0.3", "10.96.0.4"] as const;

type Dice = { readonly random: () => number; readonly pick: <T>(of: readonly T[]) => T };

function diceOf(seed: number): Dice {
  const random = seeded(seed);
  return {
    random,
    pick: <T>(of: readonly T[]): T => {
      const picked = of[Math.floor(random() * of.length)];
      if (picked === undefined) throw new RangeError("nothing to pick from");
      return picked;
    },
  };
}

/** Services whose endpoints are selected or written, in which case they may be anybody's, or nobody's of the mesh. */
function randomServices({ random, pick }: Dice, workloads: readonly Workload[]): readonly Service[] {
  const addresses = [...workloads.flatMap((each) => each.addresses), "192.0.2.7"];
  return vips.map((vip, at) => {
    const namespace = pick(namespaces);
    if (random() < 0.4)
      return service(`svc-${at}`, { namespace, vips: [vip], selector: { app: `pod-${pick([0, 1])}` } });
    const endpoints = Array.from({ length: 1 + Math.floor(random() * 3) }, () => ({
      ...{ address: pick(addresses), ports: {}, weight: 1, healthy: true },
    }));
    return service(`svc-${at}`, { namespace, vips: [vip], selector: null, endpoints });
  });
}

function randomWorld(dice: Dice): {
  readonly world: RequestWorld;
  readonly workloads: readonly Workload[];
  readonly mesh: FakeMesh;
} {
  const { random, pick } = dice;
  const workloads = namespaces.flatMap((namespace, of) =>
    [0, 1].map((at) =>
      workload(`pod-${at}`, { namespace, uid: `box//Pod/${namespace}/pod-${at}`, addresses: [`10.0.${of}.${at + 1}`] }),
    ),
  );
  const services = randomServices(dice, workloads);
  const mesh = new FakeMesh(workloads, services);
  const names = services.map((each) => `${each.namespace}/${each.name}`);
  for (let at = 0; at < 3; at += 1) {
    const [parent, to] = [pick(names), pick(names)];
    const namespace = pick(namespaces);
    if (random() < 0.5) {
      const mirrors = [{ backend: routeBackend(pick(names)), numerator: 1, denominator: 1 }];
      mesh.routes.push(httpRoute(parent, { name: `r${at}`, namespace }, { backends: [routeBackend(to)], mirrors }));
    } else {
      mesh.streamRoutes.push(
        streamRoute("TCPRoute", parent, {
          name: `r${at}`,
          namespace,
          backends: [{ service: to, port: 80, weight: 1 }],
        }),
      );
    }
  }
  const { judge, readsPaths } = evaluatorOf(mesh);
  const here = new Set(workloads.filter(() => random() < 0.5).map(({ uid }) => uid));
  const servedHere = (uid: string): boolean => here.has(uid);
  return {
    world: { mesh, servedHere, load: () => 0, random, judge, readsPaths, routes: new RouteTables(mesh) },
    workloads,
    mesh,
  };
}

test("no author leads callers of another namespace to workloads that are not the author's", (context) => {
  const seed = randomInt(2 ** 31);
  context.diagnostic(`seed ${seed}`);
  const dice = diceOf(seed);
  let led = 0;
  for (let run = 0; run < 5_000; run += 1) {
    const { world, workloads, mesh } = randomWorld(dice);
    const source = dice.pick(workloads);
    const dialled = { address: dice.pick(vips), port: 80 };
    const check = (author: string, to: Workload | null, by: string): void => {
      if (author === source.namespace || to === null) return;
      led += 1;
      const what = `seed ${seed}, run ${run}: a ${by} of ${author} leads ${source.uid} to ${to.uid}`;
      assert.equal(to.namespace, author, what);
    };
    const facts = {
      ...{ source, client: { address: source.addresses[0] ?? "", port: 4000 }, dialled },
      ...{ method: "GET", target: "/", authority: "api", header: () => [] },
    };
    if (mesh.serviceAt(dialled.address) === undefined) continue;
    const plan = planRequest(facts, world);
    if (plan.kind === "forward" && plan.entry !== null) {
      check(plan.entry.route.namespace, plan.route.destination, "HTTPRoute");
      const { entry } = plan;
      for (const mirror of entry.rule.mirrors ?? []) {
        const copy = planMirror(facts, { entry, mirror }, world);
        if (copy.kind === "send") check(entry.route.namespace, copy.plan.route.destination, "mirror");
      }
    }
    const route = routeOf(source, dialled, world);
    if (route.kind !== "refuse" && route.by !== undefined) check(route.by.namespace, route.destination, "TCPRoute");
  }
  assert.ok(led > 100, `seed ${seed}: ${led} calls were led`);
});
