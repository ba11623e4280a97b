// 1 · main thread · what the kernel may answer alone: plaintext per pod and port, and refuse-or-direct per destination while
// no agent lives. Every entry is asked of the evaluator and never weaker than it. Pure.
import type { ConnectionFacts } from "../mesh/facts.ts";
import { isIpv6 } from "../mesh/ip.ts";
import type { Service } from "../mesh/service.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { Workload } from "../mesh/workload.ts";
import { candidatesOf } from "../plan/candidates.ts";
import { anyClientNeedOf, refusesWithoutAgent } from "../plan/client-need.ts";
import { plaintextFacts } from "../plan/connection-facts.ts";
import { type Candidate, usable } from "../plan/endpoints.ts";
import { isOwnPort } from "../plan/ports.ts";
import type { Judge } from "../policy/evaluate.ts";
import { goesDirect, type InEntry, type InVerdict, type OutEntry, outVerdict } from "./maps.ts";
import type { TableRules } from "./table-change.ts";

export type VerdictWorld = { readonly mesh: Snapshot; readonly judge: Judge };

/** What plaintext to `port` of the workload gets. */
export function inVerdict(workload: Workload, port: number, world: VerdictWorld): InVerdict {
  const decision = world.judge(strangersFacts(workload, port));
  if (decision.verdict === "deny" && decision.reason === "mtls-required") return "refuse";
  // Policies may tell one source from another: only the agent can hold each against them. AUDIT and dry-run count too,
  // since what they watch has to be seen.
  if (world.mesh.authorizationPoliciesFor(workload).length > 0) return "agent";
  // A limit counts requests, which the kernel does not see.
  if (world.mesh.limitPoliciesFor(workload).length > 0) return "agent";
  return decision.verdict === "allow" ? "pass" : "refuse";
}

/** Entries of one enrolled pod: its default, and each port that differs from it. */
export function inEntries(podIdx: number, workload: Workload, world: VerdictWorld): InEntry[] {
  return perPort(workload, world).map(({ port, verdict }) => ({ podIdx, port, verdict }));
}

/**
 * Entries of a workload as a destination, for each of its addresses. Nobody of the mesh: none, unless
 * others claim its address too, so the pod's flag decides, and with an agent alive the connection goes direct.
 */
export function outEntries(workload: Workload, world: VerdictWorld): OutEntry[] {
  if (workload.protocol !== "hbone") {
    const disputed = workload.addresses.filter((address) => world.mesh.rivalsAt(address).length > 0);
    return disputed.map((address) => ({ address, port: 0, verdict: "unanswered-refuse" }));
  }
  const ports = perPort(workload, world);
  return workload.addresses.flatMap((address): readonly OutEntry[] => {
    // Nobody can tell who would answer there.
    if (world.mesh.rivalsAt(address).length > 0) return [{ address, port: 0, verdict: "unanswered-refuse" }];
    return ports.map(({ port, verdict }) => ({ address, port, verdict: verdict === "pass" ? "direct" : "refuse" }));
  });
}

/**
 * Entries of a Service's virtual addresses: direct only where each endpoint of the port would be, healthy or not (without an agent
 * nobody chooses among them), and where no route is about the port, unless the Service says that the port goes direct all the same. A
 * Service without endpoints refuses, as it does with an agent. A port counts as unanswered if the Service does not have it, or if no
 * client would find an endpoint for it.
 */
export function vipEntries(service: Service, world: VerdictWorld): OutEntry[] {
  const endpoints = world.mesh.endpointsOf(service);
  return service.vips.flatMap((address) => [
    { address, port: 0, verdict: "unanswered-refuse" as const },
    ...service.ports.map((port): OutEntry => {
      const targets = candidatesOf(endpoints, port, address);
      const { loadBalancing } = service;
      // Where routes decide, only an agent knows the endpoint.
      const need = anyClientNeedOf(service, port, world.mesh);
      const isRouted = need !== null && need !== "connection-cap";
      const answered = isRouted || loadBalancing.mode === "passthrough" || usable(targets, loadBalancing).length > 0;
      const direct = !refusesWithoutAgent(service, port, world.mesh) && allGoDirect(targets, world);
      return { address, port: port.port, verdict: outVerdict(direct, answered) };
    }),
  ]);
}

function allGoDirect(targets: readonly Candidate[], world: VerdictWorld): boolean {
  return (
    targets.length > 0 &&
    targets.every(
      ({ workload, address: at, port: target }) =>
        world.mesh.rivalsAt(at).length === 0 &&
        (workload === null || workload.protocol === "none" || inVerdict(workload, target, world) === "pass"),
    )
  );
}

/** May the pod's connections to unknown destinations go direct while no agent lives? Only if it is itself free of any rule. */
export function failDirect(workload: Workload, world: VerdictWorld): boolean {
  return perPort(workload, world).every(({ verdict }) => verdict === "pass");
}

/** Is plaintext to some port of the workload refused whatever the policies say? */
export function refusesPlaintext(workload: Workload, world: VerdictWorld): boolean {
  return perPort(workload, world).some(({ verdict }) => verdict === "refuse");
}

function perPort(workload: Workload, world: VerdictWorld): { readonly port: number; readonly verdict: InVerdict }[] {
  const named = world.mesh
    .peerAuthenticationsFor(workload)
    .flatMap(({ portLevel }) => Object.keys(portLevel).map(Number));
  const ports = [...new Set(named)].filter((port) => port > 0 && port <= 65_535);
  const general = inVerdict(workload, portBeside(new Set(ports)), world);
  const special = ports
    .map((port) => ({ port, verdict: inVerdict(workload, port, world) }))
    .filter(({ verdict }) => verdict !== general);
  return [{ port: 0, verdict: general }, ...special];
}

/** A port that no object names: asking about it asks about all the others. */
function portBeside(named: ReadonlySet<number>): number {
  let port = 1;
  while (named.has(port) || isOwnPort(port)) port += 1;
  return port;
}

/** Plaintext from an address of nobody. A pod that has no address yet is asked about under an address that nobody has. */
function strangersFacts(destination: Workload, port: number): ConnectionFacts {
  const [destinationAddress = "192.0.2.2"] = destination.addresses;
  const client = { address: isIpv6(destinationAddress) ? "2001:db8::1" : "192.0.2.1", port: 1 };
  return plaintextFacts({ client, target: { address: destinationAddress, port } }, destination);
}

const inWeakness = { refuse: 0, agent: 1, pass: 2 } as const;

/** How the two tables are kept, row by row: see table-change.ts. */
export const inRules: TableRules<InEntry> = {
  keyOf: ({ podIdx, port }) => `${podIdx} ${port}`,
  weakness: ({ verdict }) => inWeakness[verdict],
};
export const outRules: TableRules<OutEntry> = {
  // Most rows are of a whole address, and that text is there already.
  keyOf: ({ address, port }) => (port === 0 ? address : `${address} ${port}`),
  weakness: ({ verdict }) => (goesDirect(verdict) ? 1 : 0),
};
