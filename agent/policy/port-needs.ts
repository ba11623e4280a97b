// any thread · the ports of one workload, each with whether its connections have to be read; for `orlop describe`. Pure.
import type { PortHint } from "../l7/port-hint.ts";
import type { Rule } from "../mesh/policies.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { Workload } from "../mesh/workload.ts";
import { declaredPorts } from "./declared-ports.ts";
import type { Evaluator } from "./evaluate.ts";
import type { HttpNeed } from "./http-need.ts";

export type PortNeed = Omit<HttpNeed, "port"> & {
  /** null: any port that is neither named beside it nor by a rule. */
  readonly port: number | null;
  /** What Services say that the port speaks; empty: none leads to it. */
  readonly declared: readonly { readonly hint: PortHint; readonly by: string }[];
};

/** Of the ports that rules name, the lowest so many: what one namespace writes must not keep the agent busy. */
const MOST_RULE_PORTS = 64;

/** No connection has it, so that it is no port which a rule could name. */
const OTHER_PORT = 0;

/** Ports that a Service leads to, that the workload names, or that a rule about it names; in their order, then all others. */
export function portNeeds(
  workload: Workload,
  { mesh, evaluator }: { readonly mesh: Snapshot; readonly evaluator: Pick<Evaluator, "httpNeed"> },
): readonly PortNeed[] {
  const declared = declaredPorts(mesh, workload);
  const rules = [
    ...mesh.authorizationPoliciesFor(workload).flatMap((policy) => policy.rules),
    ...mesh.limitPoliciesFor(workload).map(({ match }) => match),
  ];
  const inRules = new Set(portsOf(rules));
  const named = [
    ...declared.map(({ port }) => port),
    ...Object.values(workload.ports),
    ...[...inRules].toSorted(byNumber).slice(0, MOST_RULE_PORTS),
  ];
  const ports = [...new Set(named)].toSorted(byNumber);
  return [...ports, OTHER_PORT].map((port) => ({
    ...evaluator.httpNeed(workload, port),
    port: port === OTHER_PORT ? null : port,
    declared: declared.flatMap((entry) => (entry.port === port ? [{ hint: entry.hint, by: entry.by }] : [])),
  }));
}

const byNumber = (a: number, b: number): number => a - b;

function portsOf(rules: readonly Rule[]): readonly number[] {
  return rules.flatMap(({ operations, when }) =>
    [...operations, ...when].flatMap(({ ports, notPorts }) => [...ports, ...notPorts]),
  );
}
