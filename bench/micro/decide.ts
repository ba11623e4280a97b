// bench · one L4 decision, with few policies in the mesh and with many: a destination on this node, any of its callers or a
// stranger. An agent judges for the pods of its own node; `anyDestination` is what a decision costs for a destination about which
// nobody asked lately.
import type { ConnectionFacts } from "../../agent/mesh/facts.ts";
import { MeshStore } from "../../agent/mesh/store.ts";
import { certificateFacts } from "../../agent/plan/connection-facts.ts";
import { judgeOf } from "../../agent/policy/evaluate.ts";
import { identityOf, policy, workload } from "./mesh.ts";
import { randomOf, type Times, timeEach } from "./timing.ts";

const POLICIES_PER_APP = 10;
const CALLS = 50_000;

const CLIENT = { address: "10.0.0.1", port: 40_000 };

/** Kubernetes' limit of pods per node. */
const PODS_PER_NODE = 110;

export type Decider = { measure(): Times & { readonly anyDestinationP50Us: number } };

/** A mesh of this many policies, ten to an app, judged until every app was asked about once. */
export function decider(policies: number, seed: number): Decider {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const apps = Math.max(1, Math.floor(policies / POLICIES_PER_APP));
  const destinations = Array.from({ length: apps }, (_, app) => workload(app * 10));
  store.apply([
    ...destinations.map((value) => ({ kind: "workload", op: "upsert", value }) as const),
    ...Array.from({ length: policies }, (_, index) => {
      const value = policy(Math.floor(index / POLICIES_PER_APP), index % POLICIES_PER_APP);
      return { kind: "authorization-policy", op: "upsert", value } as const;
    }),
  ]);
  const judge = judgeOf(store);
  const random = randomOf(seed);
  // One caller in eleven is nobody's: a refusal looks at every policy.
  const factsAmong = (count: number): ConnectionFacts[] =>
    Array.from({ length: CALLS }, () => {
      const destination = destinations[Math.floor(random() * count)] ?? workload(0);
      const nth = Math.floor(random() * (POLICIES_PER_APP + 1));
      const target = { address: destination.addresses[0] ?? "", port: 8080 };
      return certificateFacts(
        { client: CLIENT, target },
        destination,
        identityOf(destination.namespace, `caller-${nth}`),
      );
    });
  const near = factsAmong(Math.min(apps, PODS_PER_NODE));
  const any = factsAmong(apps);
  let denied = 0;
  const stepOf =
    (facts: readonly ConnectionFacts[]) =>
    (index: number): void => {
      const asked = facts[index];
      if (asked !== undefined && judge(asked).verdict === "deny") denied++;
    };
  const [nearStep, anyStep] = [stepOf(near), stepOf(any)];
  for (const step of [anyStep, nearStep]) for (let index = 0; index < CALLS; index++) step(index);
  if (denied === 0 || denied === 2 * CALLS) throw new Error("the decisions are not those that were asked for");
  return {
    measure: () => ({ ...timeEach(CALLS, nearStep), anyDestinationP50Us: timeEach(CALLS, anyStep).p50Us }),
  };
}
