// any thread · what is valid in rules about requests and does not do what its author may think; for `orlop check`. Pure.
import { fullName, ruleName } from "../mesh/full-name.ts";
import type { LimitPolicy } from "../mesh/limit-policy.ts";
import type { AuthorizationPolicy } from "../mesh/policies.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import { positionText, type SourceRef } from "../mesh/source-ref.ts";
import type { Workload } from "../mesh/workload.ts";
import { MOST_COMPARISONS, withinBound } from "./comparisons.ts";
import { declaredPorts } from "./declared-ports.ts";
import type { Evaluator } from "./evaluate.ts";
import { spelledPaths } from "./spelled-paths.ts";

export type RequestWarning = {
  readonly code: "ORL4109" | "ORL4110" | "ORL4116";
  readonly what: string;
  readonly why: string;
  readonly fix: string;
};

/** A warning before it is known of how many workloads it is true. */
type Found = Omit<RequestWarning, "what"> & {
  readonly what: (workloads: string) => string;
  readonly key: string;
};
type WarningWorld = {
  readonly mesh: Snapshot;
  readonly evaluator: Pick<Evaluator, "httpNeed">;
};

/** @param workloads about which the reader wants to know: those of the node. */
export function requestWarnings(workloads: Iterable<Workload>, world: WarningWorld): readonly RequestWarning[] {
  const found = new Map<string, { readonly warning: Found; readonly workloads: string[] }>();
  // Replicas have the same policies.
  const pathsOf = new Map<string, readonly Found[]>();
  for (const workload of workloads) {
    const policies = world.mesh.authorizationPoliciesFor(workload);
    const limits = world.mesh.limitPoliciesFor(workload);
    if (policies.length + limits.length === 0) continue;
    const names = `${policies.map(fullName).join(" ")}|${limits.map(fullName).join(" ")}`;
    const aboutTheirPaths = pathsOf.get(names) ?? [...aboutSize(policies, limits), ...aboutPaths(policies)];
    pathsOf.set(names, aboutTheirPaths);
    for (const warning of [...aboutTheirPaths, ...aboutPorts(workload, world)]) {
      const key = `${warning.code} ${warning.key}`;
      const known = found.get(key) ?? { warning, workloads: [] };
      found.set(key, known);
      if (!known.workloads.includes(fullName(workload))) known.workloads.push(fullName(workload));
    }
  }
  return [...found.values()].map(({ warning: { code, what, why, fix }, workloads: names }) => ({
    code,
    what: what(firstOfAll(names)),
    why,
    fix,
  }));
}

/** `a`, or `a and 2 more`. */
function firstOfAll([first = "", ...others]: readonly string[]): string {
  return others.length === 0 ? first : `${first} and ${others.length} more`;
}

function aboutSize(policies: readonly AuthorizationPolicy[], limits: readonly LimitPolicy[]): readonly Found[] {
  const { closed, comparisons } = withinBound(policies, limits);
  return closed.map((policy) => ({
    code: "ORL4116",
    key: `${fullName(policy)} ${"rules" in policy ? "policy" : "limit"}`,
    what: (workloads) =>
      `${at(policy.from)}${"rules" in policy ? policy.action : "LimitPolicy"} ${fullName(policy)} is closed for ${workloads}: with it a request would be compared ${comparisons} times`,
    why: `one request may cost ${MOST_COMPARISONS} comparisons, since its thread serves other pods, too; a closed DENY or limit refuses everything, a closed ALLOW lets nobody in`,
    fix: "write many values in one list instead of one rule for each, or narrow selectors, so that each workload has fewer rules",
  }));
}

/** A rule has one warning for all of its paths. */
function aboutPaths(policies: readonly AuthorizationPolicy[]): readonly Found[] {
  const byRule = Map.groupBy(spelledPaths(policies), ({ rule }) => ruleName(rule));
  return [...byRule].flatMap(([name, all]): readonly Found[] => {
    const [first] = all;
    if (first === undefined) return [];
    const { action, path, spelled, rule } = first;
    const paths = firstOfAll([...new Set(all.map((each) => each.path))]);
    const closes = `${action === "DENY" ? "closes" : "leaves out"} ${paths} by exact text alone`;
    return [
      {
        code: "ORL4109",
        key: `${name} ${paths}`,
        what: (workloads) => `${at(rule.from)}${action} ${name} ${closes}, and nothing else closes ${workloads}`,
        why: `${spelled}, or the path in other letters, may lead to the same handler of the application, and is let through as soon as requests are read`,
        fix: `add an ALLOW policy that lists the paths which may be called, or name "${path.replace(/\/$/, "")}/{**}" besides`,
      },
    ];
  });
}

function aboutPorts(workload: Workload, { mesh, evaluator }: WarningWorld): readonly Found[] {
  return declaredPorts(mesh, workload).flatMap(({ port, hint, by }): readonly Found[] => {
    if (hint !== "opaque") return [];
    const { isRead, reasons } = evaluator.httpNeed(workload, port);
    const rules = isRead ? reasons.flatMap(({ rule }) => rule ?? []) : [];
    const [first] = rules;
    if (first === undefined) return [];
    const names = firstOfAll(rules.map(ruleName));
    return [opaquePort({ where: at(first.from), names, port, by })];
  });
}

/** `names`: the rules that hold at the port; `where`: the place of the first of them. */
type RuledPort = { readonly where: string; readonly names: string; readonly port: number; readonly by: string };

function opaquePort({ where, names, port, by }: RuledPort): Found {
  return {
    code: "ORL4110",
    key: `${port} ${by} ${names}`,
    what: (workloads) => `${where}HTTP rules hold at port ${port} of ${workloads}, which is no HTTP (${by}): ${names}`,
    why: "to judge requests the agent has to read the port: its connections would leave the kernel's path, and what is not HTTP gets the verdict that no request can weaken",
    fix: "name the ports of HTTP in operation.ports of the rules",
  };
}

function at(from: SourceRef): string {
  const position = positionText(from);
  return position === "" ? "" : `${position}: `;
}
