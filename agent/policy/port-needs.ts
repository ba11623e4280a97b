// any thread · the ports of one workload, each with whether its connections have to be read; for `orlop describe`. Pure.
import type { PortHint } from "../l7/port-hint.ts";
import type { AuthorizationPolicy } from "../mesh/policies.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { Workload } from "../mesh/workload.ts";
import { declaredPorts } from "./declared-ports.ts";
import type { Evaluator } from "./evaluate.ts";
import type { HttpNeed } from "./http-need.ts";

export type PortNeed = Omit<HttpNeed, "port"> & {
  /** null: every port that is not named beside it. */
  readonly port: number | null;
  /** What Services say that the port speaks; empty: none leads to it. */
  readonly declared: readonly { readonly hint: PortHint; readonly by: string }[];
};

/** No connection has it, so that it is no port which a rule could name. */
const OTHER_PORT = 0;

/** Ports that a Service leads to, that the workload names, or that a rule about it names; in their order, then all others. */
export function portNeeds(
  workload: Workload,
  { mesh, evaluator }: { readonly mesh: Snapshot; readonly evaluator: Pick<Evaluator, "httpNeed"> },
): readonly PortNeed[] {
  const declared = declaredPorts(mesh, workload);
  const named = [
    ...declared.map(({ port }) => port),
    ...Object.values(workload.ports),
    ...mesh.authorizationPoliciesFor(workload).flatMap(portsOf),
  ];
  const ports = [...new Set(named)].toSorted((a, b) => a - b);
  return [...ports, OTHER_PORT].map((port) => ({
    ...evaluator.httpNeed(workload, port),
    port: port === OTHER_PORT ? null : port,
    declared: declared.flatMap((entry) => (entry.port === port ? [{ hint: entry.hint, by: entry.by }] : [])),
  }));
}

function portsOf({ rules }: AuthorizationPolicy): readonly number[] {
  return rules.flatMap(({ operations, when }) =>
    [...operations, ...when].flatMap(({ ports, notPorts }) => [...ports, ...notPorts]),
  );
}
