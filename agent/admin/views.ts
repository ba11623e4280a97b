// main thread · what the agent knows as the JSON of api.ts. Builds every reply field by field: what is not named here, a key
// least of all, cannot get out.
import { type LeftOutPod, leftOutNote } from "../control/left-out.ts";
import { fullName, ruleName } from "../mesh/full-name.ts";
import { DATAPLANE_MODE } from "../mesh/names.ts";
import type { Service } from "../mesh/service.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import { lineText } from "../mesh/source-ref.ts";
import type { Workload } from "../mesh/workload.ts";
import type { Party } from "../observe/record.ts";
import type { OpenConnection } from "../observe/recorder.ts";
import type { PortNeed } from "../policy/port-needs.ts";
import {
  apiVersion,
  type BpfView,
  type CertView,
  type ConnectionView,
  type ErrorView,
  type List,
  type LogLevelView,
  type PortNeedView,
  type ServiceView,
  type VersionView,
  type ViewName,
  type Views,
  type WorkloadView,
} from "./api.ts";
import { ejectedViews } from "./ejected-views.ts";
import { findingsOf } from "./findings.ts";
import { limitViews } from "./limit-views.ts";
import { byName, compare } from "./order.ts";
import { policyViews } from "./policy-views.ts";
import { routeViews } from "./route-views.ts";
import type { AdminSource } from "./source.ts";
import { statusView } from "./status-view.ts";
import { trafficView } from "./traffic-views.ts";

export type { AdminSource, CertState, PodState } from "./source.ts";

/** Connections shown at most; the rest is counted in `truncated`. */
export const maxConnections = 5_000;

export async function view<Name extends ViewName>(name: Name, source: AdminSource): Promise<Views[Name]> {
  return builders[name](source);
}

export function errorView(code: string, message: string): ErrorView {
  return { apiVersion, kind: "Error", code, message };
}

const builders: { readonly [Name in ViewName]: (source: AdminSource) => Promise<Views[Name]> } = {
  status: statusView,
  workloads: async (source) => list("WorkloadList", workloads(source)),
  services: async (source) => list("ServiceList", services(source)),
  routes: async (source) => list("RouteList", routeViews(source)),
  limits: async (source) => list("LimitList", limitViews(source).toSorted(byName)),
  ejected: async (source) => list("EjectedList", ejectedViews(await source.ejected())),
  policies: async (source) => list("PolicyList", policyViews(source)),
  certs: async (source) => list("CertificateList", certs(source)),
  connections,
  bpf,
  findings: async (source) => list("FindingList", await findingsOf(source)),
  log: async (source) => list("LogLevelList", logLevels(source)),
  version: async (source) => version(source),
};

function list<Kind extends string, Item>(kind: Kind, items: readonly Item[]): List<Kind, Item> {
  return { apiVersion, kind, items };
}

function version(source: AdminSource): VersionView {
  return { node: source.node, version: source.version, abi: source.abi, nodejs: process.versions.node };
}

function workloads(source: AdminSource): readonly WorkloadView[] {
  const pods = new Map(source.pods().map((pod) => [pod.workloadUid, pod]));
  const leftOut = new Map(source.configuration().leftOut.map((pod) => [pod.workload.uid, pod]));
  // A pod on its node's network is none of the mesh's workloads: its addresses are the node's.
  const unknown = [...leftOut.values()].flatMap(({ workload }) =>
    source.mesh.workload(workload.uid) === undefined ? [workload] : [],
  );
  const views = [...source.mesh.workloads(), ...unknown].map((workload): WorkloadView => {
    const pod = pods.get(workload.uid);
    const { capture, captureNote } =
      pod === undefined
        ? outside(workload, leftOut.get(workload.uid), source.node)
        : { capture: pod.state, captureNote: pod.note };
    return {
      name: workload.name,
      namespace: workload.namespace,
      uid: workload.uid,
      addresses: workload.addresses,
      node: workload.node,
      protocol: workload.protocol === "hbone" ? "HBONE" : "TCP",
      identity: workload.identity.text,
      mode: source.mode(workload),
      labels: workload.labels,
      healthy: workload.healthy,
      weight: workload.weight,
      capture,
      captureNote,
      podIdx: pod?.podIdx ?? null,
      http: workload.node === source.node ? source.portNeeds(workload).map(portNeedView) : [],
      from: lineText(workload.from),
    };
  });
  return views.toSorted(byName);
}

/** Of a workload that this agent neither holds nor is to hold. */
function outside(
  { node, labels }: Workload,
  leftOut: LeftOutPod | undefined,
  here: string,
): Pick<WorkloadView, "capture" | "captureNote"> {
  if (leftOut !== undefined) return { capture: "left-out", captureNote: leftOutNote(leftOut) };
  if (node !== here) return { capture: "remote", captureNote: "" };
  const isOptedOut = labels[DATAPLANE_MODE] === "none";
  return { capture: "not-enrolled", captureNote: isOptedOut ? `its own label ${DATAPLANE_MODE}: none` : "" };
}

/** Rules that are named for each port; of the others the number is given. */
const reasonsNamed = 5;

function portNeedView({ port, isRead, reasons, declared }: PortNeed): PortNeedView {
  const named = reasons
    .slice(0, reasonsNamed)
    .map(({ why, rule }) => (rule === null ? why : `${why} ${ruleName(rule)}`));
  const more = reasons.length - named.length;
  return {
    port,
    read: isRead,
    reasons: more === 0 ? named : [...named, `${more} more rules`],
    declared: declared.map(({ hint, by }) => `${hint} (${by})`),
  };
}

function services({ mesh }: AdminSource): readonly ServiceView[] {
  const views = [...mesh.services()].map((service): ServiceView => {
    const endpoints = mesh
      .endpointsOf(service)
      .flatMap(({ workload, addresses, healthy }) =>
        addresses.map((address) => ({ address, workload: workload?.name ?? "", healthy })),
      );
    return {
      name: service.name,
      namespace: service.namespace,
      hostname: service.hostname,
      vips: service.vips,
      ports: service.ports.map(({ name, port, targetPort }) => ({ name, port, targetPort: String(targetPort) })),
      endpoints: endpoints.toSorted((a, b) => compare(a.workload, b.workload) || compare(a.address, b.address)),
      traffic: service.traffic === undefined ? null : trafficView(service.traffic),
      limits: limitsOf(service, mesh),
      from: lineText(service.from),
    };
  });
  return views.toSorted(byName);
}

function limitsOf(service: Service, mesh: Snapshot): readonly string[] {
  const limits = mesh
    .endpointsOf(service)
    .flatMap(({ workload }) => (workload === null ? [] : [...mesh.limitPoliciesFor(workload)]));
  return [...new Set(limits.map(fullName))].toSorted(compare);
}

function certs(source: AdminSource): readonly CertView[] {
  const identities = new Map<string, number>();
  const pods = new Set(
    source
      .pods()
      .filter(({ state }) => state === "captured")
      .map(({ workloadUid }) => workloadUid),
  );
  for (const { uid, identity } of source.mesh.workloads()) {
    if (pods.has(uid)) identities.set(identity.text, (identities.get(identity.text) ?? 0) + 1);
  }
  const views = source.certs().map(
    (cert): CertView => ({
      identity: cert.identity,
      state: cert.state,
      serial: cert.serial,
      notBefore: time(cert.notBeforeMs),
      notAfter: time(cert.notAfterMs),
      rotatesAt: time(cert.rotatesAtMs),
      pods: identities.get(cert.identity) ?? 0,
      message: cert.message,
    }),
  );
  return views.toSorted((a, b) => compare(a.identity, b.identity));
}

async function connections(source: AdminSource): Promise<Views["connections"]> {
  const open = await source.connections(maxConnections);
  const shown = open.toSorted((a, b) => a.openedAtMs - b.openedAtMs || compare(a.id, b.id)).slice(0, maxConnections);
  const all = Math.max(open.length, source.openConnections());
  return {
    ...list("ConnectionList", shown.map(connection)),
    ...(all > shown.length ? { truncated: all - shown.length } : {}),
  };
}

function connection({ id, openedAtMs, record, transport, http }: OpenConnection): ConnectionView {
  const [own, peer] =
    record.reporter === "source" ? [record.source, record.destination] : [record.destination, record.source];
  return {
    id,
    openedAt: time(openedAtMs),
    reporter: record.reporter,
    direction: record.direction,
    namespace: own.workload?.namespace ?? "",
    pod: own.workload?.name ?? "",
    peer: partyName(peer),
    peerNamespace: peer.workload?.namespace ?? "",
    source: { address: record.source.address, port: record.source.port },
    destination: { address: record.destination.address, port: record.destination.port },
    hbone: record.hbone && { address: record.hbone.address, port: record.hbone.port },
    service: record.service?.hostname ?? "",
    protocol: record.hbone ? "HBONE" : "TCP",
    security: record.security,
    sourceIdentity: record.source.identity?.text ?? "",
    destinationIdentity: record.destination.identity?.text ?? "",
    verdict: record.decision?.verdict ?? "",
    unjudged: record.unjudged ?? "",
    policy: record.decision?.policy ?? "",
    traceId: record.traceId,
    application: http.protocol,
    requests: http.requests,
    openRequest: http.open && { method: http.open.method, path: http.open.path, since: time(http.open.sinceMs) },
    rttMs: transport === null ? null : transport.rttUs / 1000,
    retransmits: transport?.retransmits ?? null,
  };
}

async function bpf(source: AdminSource): Promise<Views["bpf"]> {
  const { programs, maps, pods } = await source.bpf();
  const names = new Map(
    source.pods().map(({ podIdx, workloadUid }) => [podIdx, source.mesh.workload(workloadUid)?.name]),
  );
  const items: BpfView[] = [
    ...programs.map(
      ({ name, attach, pin, tag, runs, runNs }): BpfView => ({ type: "program", name, attach, pin, tag, runs, runNs }),
    ),
    ...maps.map(({ name, entries, maxEntries }): BpfView => ({ type: "map", name, entries, maxEntries })),
    ...Object.entries(source.counters() ?? {}).map(([name, value]): BpfView => ({ type: "counter", name, value })),
    ...pods.map(
      ({ podIdx, uid, flows, joined, dials, nodeDials, traffic, refused, eventsLost }): BpfView => ({
        type: "pod",
        name: names.get(podIdx) ?? uid,
        pendingFlows: flows,
        joinedFlows: joined,
        agentDials: dials,
        nodeDials,
        trafficRows: traffic,
        refusedConnects: refused,
        lostEvents: eventsLost,
      }),
    ),
  ];
  return list("BpfList", items);
}

function logLevels(source: AdminSource): readonly LogLevelView[] {
  return source.logLevels().map(({ room, level, until }) => ({ room, level, until: time(until) }));
}

function partyName(party: Party): string {
  return party.workload?.name ?? party.address;
}

function time(ms: number | null): string {
  return ms === null ? "" : new Date(ms).toISOString();
}
