// 1 · main thread · which pods of this node may talk past the agent: pairs and virtual addresses → rows of the kernel's tables. The
// evaluator is asked about every pair as for a `local` route; a pair whose connections the agent has to see is not joined. Pure.
import { isSameFamily } from "../mesh/ip.ts";
import type { AuthorizationPolicy, PeerAuthentication, Rule } from "../mesh/policies.ts";
import type { Service, ServicePort } from "../mesh/service.ts";
import type { Workload } from "../mesh/workload.ts";
import { candidatesOf } from "../plan/candidates.ts";
import { clientNeedOf } from "../plan/client-need.ts";
import { sameNodeFacts } from "../plan/connection-facts.ts";
import { type Candidate, eligibleEndpoints } from "../plan/endpoints.ts";
import { isOwnPort } from "../plan/ports.ts";
import { type Backend, MAX_BACKENDS, type PairEntry, type PairVerdict } from "./pair-maps.ts";
import type { VerdictWorld } from "./plaintext-verdicts.ts";

/** A captured pod of this node. */
export type LocalPod = { readonly podIdx: number; readonly workload: Workload };
/** A verdict on a port of a pair; port 0 is any other. */
export type PortVerdict = Pick<PairEntry, "port" | "verdict">;

/** The sum of weights is a number of 32 bit in the kernel. */
const MAX_WEIGHT = 1_000_000;

/**
 * The verdicts on connections from `source` to `destination`: on any port, and on each port that differs.
 * "join": allowed, and nobody but the two has to know. "stay": allowed, but the agent takes new ones. "end": denied.
 */
export function pairVerdicts(source: Workload, destination: Workload, world: VerdictWorld): readonly PortVerdict[] {
  const named = new Set([
    ...world.mesh.authorizationPoliciesFor(destination).flatMap(policyPorts),
    ...world.mesh.limitPoliciesFor(destination).flatMap(({ match }) => rulePorts(match)),
    ...world.mesh.peerAuthenticationsFor(destination).flatMap(peerPorts),
  ]);
  const best = joinable(source, destination, world) ? "join" : "stay";
  const verdict = (port: number): PairVerdict => {
    const judged = judgedAt(source, destination, port, world);
    return judged === "denied" ? "end" : judged === "watched" ? "stay" : best;
  };
  const general = verdict(portBeside(named));
  const special = [...named]
    .filter((port) => port > 0 && port <= 65_535 && !isOwnPort(port))
    .map((port) => ({ port, verdict: verdict(port) }))
    .filter((special) => special.verdict !== general);
  return [{ port: 0, verdict: general }, ...special];
}

/** Apart from the policies: is there nothing about the pair that only the agent can do? */
function joinable(source: Workload, destination: Workload, { mesh }: VerdictWorld): boolean {
  if (source.protocol !== "hbone" || destination.protocol !== "hbone") return false;
  // Where an address of the destination means another workload or a Service to this caller, only the agent can choose.
  return destination.addresses.every(
    (address) => mesh.workloadAt(address) === destination && mesh.serviceAt(address, source.namespace) === undefined,
  );
}

/**
 * From and to each address that they could use. A single denial denies all: the kernel's verdict is of pods, not addresses. "watched":
 * allowed, and an AUDIT or dry-run policy has something to report of the connection or may have of its requests, so the agent has to
 * see it when it happens. The judge of connections reports whatever any request could be reported for.
 */
function judgedAt(
  source: Workload,
  destination: Workload,
  port: number,
  world: VerdictWorld,
): "denied" | "watched" | "allowed" {
  const pairs = source.addresses.flatMap((from) =>
    destination.addresses.filter((to) => isSameFamily(from, to)).map((to) => ({ from, to })),
  );
  const decisions = pairs.map(({ from, to }) => {
    const ends = { client: { address: from, port: 1 }, target: { address: to, port } };
    return world.judge(sameNodeFacts(ends, destination, source));
  });
  if (decisions.length === 0 || decisions.some(({ verdict }) => verdict !== "allow")) return "denied";
  const isWatched = decisions.some(({ audited, dryRunDenied }) => audited.length + dryRunDenied.length > 0);
  return isWatched ? "watched" : "allowed";
}

const policyPorts = ({ rules }: AuthorizationPolicy): readonly number[] => rules.flatMap(rulePorts);
const rulePorts = ({ operations, when }: Rule): readonly number[] =>
  [...operations, ...when].flatMap(({ ports, notPorts }) => [...ports, ...notPorts]);
const peerPorts = ({ portLevel }: PeerAuthentication): readonly number[] => Object.keys(portLevel).map(Number);

/** A port that no object names: asking about it asks about all the others. */
function portBeside(named: ReadonlySet<number>): number {
  let port = 1;
  while (named.has(port) || isOwnPort(port)) port += 1;
  return port;
}

export type PodVip = { readonly vip: string; readonly port: number; readonly backends: readonly Backend[] };

/**
 * Virtual addresses that the kernel may resolve for `source`: each pod that may be chosen is another pod of this node, and `joins` says that
 * `source` may be joined to it. For all other addresses the agent chooses.
 * @param services at least those that pods of this node answer for
 */
export function podVips(
  source: Workload,
  world: VerdictWorld,
  joins: (destination: Workload, port: number) => boolean,
  services: Iterable<Service> = world.mesh.services(),
): PodVip[] {
  const list: PodVip[] = [];
  for (const service of services) {
    for (const vip of service.vips) {
      if (world.mesh.serviceAt(vip, source.namespace) !== service) continue;
      for (const port of service.ports) {
        // Its requests are read, each for itself.
        if (clientNeedOf(service, port, source.namespace, world.mesh) !== null) continue;
        const backends = localBackends(source, { service, port, vip }, world, joins);
        if (backends.length > 0) list.push({ vip, port: port.port, backends });
      }
    }
  }
  return list;
}

function localBackends(
  source: Workload,
  { service, port, vip }: { readonly service: Service; readonly port: ServicePort; readonly vip: string },
  { mesh }: VerdictWorld,
  joins: (destination: Workload, port: number) => boolean,
): Backend[] {
  const { loadBalancing } = service;
  if (loadBalancing.mode === "passthrough" || isOwnPort(port.port)) return [];
  const candidates = eligibleEndpoints(candidatesOf(mesh.endpointsOf(service), port, vip), {
    from: source,
    loadBalancing,
  });
  const fits = ({ workload, address, port: target, weight }: Candidate): boolean =>
    workload !== null &&
    workload !== source &&
    isSameFamily(address, vip) &&
    !isOwnPort(target) &&
    Number.isInteger(weight) &&
    weight <= MAX_WEIGHT &&
    joins(workload, target);
  if (candidates.length > MAX_BACKENDS || !candidates.every(fits)) return [];
  return candidates.map(({ address, port: target, weight }) => ({ address, port: target, weight }));
}
