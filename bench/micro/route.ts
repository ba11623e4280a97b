// bench · one outbound plan, with few workloads or Services in the mesh and with many: the address that was dialled → Service →
// endpoint → tunnel. As with decisions: what this node's pods call, and beside it anything in the mesh.
import { MeshStore } from "../../agent/mesh/store.ts";
import { type OutboundFacts, type PlanWorld, planOutbound } from "../../agent/plan/plan.ts";
import { judgeOf } from "../../agent/policy/evaluate.ts";
import { addressOf, service, vipOf, workload } from "./mesh.ts";
import { randomOf, type Times, timeEach } from "./timing.ts";

const CALLS = 50_000;
const WORKLOADS_PER_APP = 10;
/** Destinations that one node's pods keep calling. */
const NEAR = 110;

export type Router = { measure(): Times & { readonly anyDestinationP50Us: number }; readonly heapMb: number };

/** A mesh of this many workloads, ten to a Service. */
export const routerOfWorkloads = (workloads: number, seed: number): Router =>
  router(workloads, Math.ceil(workloads / WORKLOADS_PER_APP), seed);

/** A mesh of this many Services over at most 10,000 workloads: an app has many Services then. */
export const routerOfServices = (services: number, seed: number): Router =>
  router(Math.min(services * WORKLOADS_PER_APP, 10_000), services, seed);

function router(workloads: number, services: number, seed: number): Router {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const before = process.memoryUsage().heapUsed;
  const apps = Math.ceil(workloads / WORKLOADS_PER_APP);
  store.apply([
    ...Array.from({ length: workloads }, (_, index) => {
      return { kind: "workload", op: "upsert", value: workload(index) } as const;
    }),
    ...Array.from({ length: services }, (_, index) => {
      return { kind: "service", op: "upsert", value: service(index, index % apps) } as const;
    }),
  ]);
  const heapMb = (process.memoryUsage().heapUsed - before) / 2 ** 20;
  const random = randomOf(seed);
  const world: PlanWorld = { mesh: store, judge: judgeOf(store), servedHere: () => false, load: () => 0, random };
  const source = workload(0);
  const factsAmong = (count: number): OutboundFacts[] =>
    Array.from({ length: CALLS }, () => ({
      source,
      client: { address: addressOf(0), port: 40_000 },
      dialled: { address: vipOf(Math.floor(random() * count)), port: 80 },
    }));
  const [near, any] = [factsAmong(Math.min(services, NEAR)), factsAmong(services)];
  const stepOf =
    (facts: readonly OutboundFacts[]) =>
    (index: number): void => {
      const asked = facts[index];
      if (asked === undefined || planOutbound(asked, world).route?.kind !== "tunnel")
        throw new Error("no tunnel was planned");
    };
  const [nearStep, anyStep] = [stepOf(near), stepOf(any)];
  for (const step of [anyStep, nearStep]) for (let index = 0; index < CALLS; index++) step(index);
  return {
    heapMb,
    measure: () => ({ ...timeEach(CALLS, nearStep), anyDestinationP50Us: timeEach(CALLS, anyStep).p50Us }),
  };
}
