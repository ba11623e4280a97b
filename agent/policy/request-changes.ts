// any thread · each policy with fields of HTTP, what is read because of it, and what changes with the first release that reads requests;
// for `orlop check`. Pure.
import { fullName } from "../mesh/full-name.ts";
import type { AuthorizationPolicy } from "../mesh/policies.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import { positionText } from "../mesh/source-ref.ts";
import type { Workload } from "../mesh/workload.ts";
import type { Evaluator } from "./evaluate.ts";
import type { HttpNeedReason } from "./http-need.ts";
import { hiddenFields } from "./l4-view.ts";
import { type PortNeed, portNeeds } from "./port-needs.ts";

export type RequestChange = {
  readonly code: "ORL4112";
  readonly what: string;
  readonly why: string;
  readonly fix: string;
};

/** One workload of the node that the policy selects. */
type Reach = {
  readonly workload: string;
  /** As `portWords` has it; empty: the policy has no port read. */
  readonly ports: string;
  /** Ports among them that a Service declares as something else than HTTP/1.1. */
  readonly otherProtocols: readonly string[];
  /** Why ports at which the policy might hold are not read. */
  readonly unread: readonly string[];
};
type ChangesWorld = {
  readonly mesh: Snapshot;
  readonly evaluator: Pick<Evaluator, "httpNeed">;
};

/** A change for each policy with fields of HTTP that selects some of the workloads, and a last for all those that select none. */
export function requestChanges(workloads: Iterable<Workload>, world: ChangesWorld): readonly RequestChange[] {
  const reaches = new Map<AuthorizationPolicy, Reach[]>();
  for (const workload of workloads) {
    const selecting = world.mesh.authorizationPoliciesFor(workload).filter(hasFieldOfHttp);
    if (selecting.length === 0) continue;
    const needs = portNeeds(workload, world);
    for (const policy of selecting) {
      const known = reaches.get(policy) ?? [];
      reaches.set(policy, known);
      known.push(reachOf(policy, workload, needs));
    }
  }
  const elsewhere = [...world.mesh.authorizationPolicies()].filter(
    (policy) => hasFieldOfHttp(policy) && !reaches.has(policy),
  );
  return [
    ...[...reaches]
      .toSorted(([a], [b]) => (fullName(a) < fullName(b) ? -1 : 1))
      .map(([policy, of]) => changeOf(policy, of)),
    ...(elsewhere.length === 0 ? [] : [changeElsewhere(elsewhere)]),
  ];
}

function hasFieldOfHttp({ rules }: AuthorizationPolicy): boolean {
  return rules.some((rule) => [...hiddenFields(rule)].some(({ isInRequest }) => isInRequest));
}

function reachOf(policy: AuthorizationPolicy, workload: Workload, needs: readonly PortNeed[]): Reach {
  const isReason = ({ isRead, reasons }: PortNeed): boolean =>
    isRead && reasons.some(({ rule }) => rule?.name === policy.name && rule.namespace === policy.namespace);
  const read = needs.filter(isReason);
  const declared = read.flatMap(({ port, declared: all }) =>
    all.flatMap(({ hint, by }) => (hint === "opaque" || hint === "http2" ? [`${port} (${by})`] : [])),
  );
  const unread = needs.flatMap(({ isRead, reasons }) =>
    isRead ? [] : reasons.flatMap(({ why, rule }) => whyUnread(why, rule === null ? "" : ` (${fullName(rule)})`)),
  );
  return {
    workload: fullName(workload),
    ports: portWords(read, needs),
    otherProtocols: declared,
    unread: [...new Set(unread)],
  };
}

function whyUnread(why: HttpNeedReason, rule: string): readonly string[] {
  if (why === "allowed-by-connection") return [`an ALLOW lets every connection in${rule}`];
  return why === "denied-by-connection" ? [`no connection is let in${rule}`] : [];
}

/** `port 80, 8080`, `each port`, or `each port but 9090`. */
function portWords(read: readonly PortNeed[], needs: readonly PortNeed[]): string {
  const numbersOf = (some: readonly PortNeed[]) => some.flatMap(({ port }) => port ?? []).join(", ");
  if (read.length === 0) return "";
  if (!read.some(({ port }) => port === null)) return `port ${numbersOf(read)}`;
  const others = numbersOf(needs.filter((need) => !read.includes(need)));
  return others === "" ? "each port" : `each port but ${others}`;
}

function changeOf(policy: AuthorizationPolicy, reaches: readonly Reach[]): RequestChange {
  const word = `${positionText(policy.from)}: ${policy.dryRun ? "dry-run " : ""}${policy.action} ${fullName(policy)}`;
  const byPorts = Map.groupBy(reaches, ({ ports }) => ports);
  const read = [...byPorts].filter(([ports]) => ports !== "");
  const fix =
    "ask what a request gets: orlop explain SRC DST:PORT --method GET --path /; by port: orlop describe pod/NAME";
  if (read.length === 0) {
    const because = [...new Set(reaches.flatMap(({ unread }) => unread))];
    const reason = because.length === 0 ? "its rules need what no request shows" : because.join("; ");
    return {
      code: "ORL4112",
      what: `${word} has fields of HTTP, and has no port of ${namesOf(reaches)} read`,
      why: `${reason}: nothing changes with the first start of this release`,
      fix,
    };
  }
  const places = read.map(([ports, some]) => `${ports} of ${namesOf(some)}`).join("; ");
  return {
    code: "ORL4112",
    what: `${word} has requests read at ${places}`,
    why: `${effectOf(policy)}. ${strictWords(reaches.flatMap((reach) => reach.otherProtocols))}`,
    fix,
  };
}

/** What the first start of a release that reads requests changes. */
function effectOf({ action, dryRun }: AuthorizationPolicy): string {
  const since = "from the first start of this release on";
  if (action === "AUDIT" || dryRun) {
    return `before, it reported each connection that the other fields of its rules match; ${since} it reports the requests that they match. Connections to these ports go through the agent, and nothing is refused for it`;
  }
  if (action === "ALLOW") {
    return `before, its rules with such fields let nobody in; ${since} the requests of HTTP/1.1 that they match are let in`;
  }
  return `before, it denied each connection that the other fields of its rules match; ${since} it denies the requests that they match, and others go on if no other rule denies them`;
}

function strictWords(otherProtocols: readonly string[]): string {
  const [first = "", ...others] = [...new Set(otherProtocols)];
  const more = others.length === 0 ? "" : ` and ${others.length} more`;
  const named = first === "" ? "" : `, which port ${first}${more} is said to be,`;
  return `A connection that is not HTTP/1.1${named} keeps the verdict that it had, and so does a connection that is decided by who calls`;
}

function changeElsewhere(policies: readonly AuthorizationPolicy[]): RequestChange {
  const names = policies.map(fullName).toSorted();
  const shown = names.slice(0, 10).join(", ");
  const more = names.length > 10 ? ` and ${names.length - 10} more` : "";
  return {
    code: "ORL4112",
    what: `with fields of HTTP, and without a pod of this node: ${shown}${more}`,
    why: "on this node nothing changes for these policies",
    fix: "ask the agents of the nodes of their pods: orlop check",
  };
}

/** `a`, or `a and 2 more`. */
function namesOf(reaches: readonly Reach[]): string {
  const [first = "", ...others] = reaches.map(({ workload }) => workload);
  return others.length === 0 ? first : `${first} and ${others.length} more`;
}
