// CLI · the columns of each table, once for `get` and once for `wide`.
import type {
  BpfView,
  CertView,
  ConnectionView,
  KindView,
  LimitView,
  PolicyView,
  RouteView,
  ServiceView,
  StatusView,
  WorkloadView,
} from "../admin/api.ts";
import type { EjectedView } from "../admin/ejected-views.ts";
import { endpointText } from "../mesh/endpoint.ts";
import { type Column, duration, grouped } from "./output.ts";

export const workloadColumns: readonly Column<WorkloadView>[] = [
  { header: "NAMESPACE", value: (row) => row.namespace, namespace: true },
  { header: "NAME", value: (row) => row.name },
  { header: "ADDRESS", value: (row) => row.addresses.join(",") },
  { header: "NODE", value: (row) => row.node },
  { header: "PROTOCOL", value: (row) => row.protocol },
  { header: "MODE", value: (row) => row.mode },
  { header: "CAPTURE", value: (row) => row.capture },
  { header: "HEALTHY", value: (row) => (row.healthy ? "yes" : "no") },
  { header: "IDENTITY", value: (row) => row.identity, wide: true },
  { header: "LABELS", value: (row) => pairs(row.labels), wide: true },
  { header: "NOTE", value: (row) => row.captureNote, wide: true },
  { header: "FROM", value: (row) => row.from, wide: true },
];

/** How many are healthy of how many. A pod with an address of each family is one endpoint. */
function endpointCount(endpoints: ServiceView["endpoints"]): string {
  const keyOf = ({ workload, address }: ServiceView["endpoints"][number]): string => workload || address;
  const healthy = endpoints.filter((endpoint) => endpoint.healthy);
  return `${new Set(healthy.map(keyOf)).size}/${new Set(endpoints.map(keyOf)).size}`;
}

export const serviceColumns: readonly Column<ServiceView>[] = [
  { header: "NAMESPACE", value: (row) => row.namespace, namespace: true },
  { header: "NAME", value: (row) => row.name },
  { header: "VIP", value: (row) => row.vips.join(",") },
  { header: "PORTS", value: (row) => row.ports.map(({ port }) => String(port)).join(",") },
  { header: "ENDPOINTS", value: (row) => endpointCount(row.endpoints) },
  { header: "HOSTNAME", value: (row) => row.hostname, wide: true },
  { header: "TRAFFIC", value: (row) => row.traffic?.texts.join("; ") ?? "", wide: true },
  { header: "LIMITS", value: (row) => row.limits?.join(",") ?? "", wide: true },
  { header: "FROM", value: (row) => row.from, wide: true },
];

export const policyColumns: readonly Column<PolicyView>[] = [
  { header: "NAMESPACE", value: (row) => row.namespace, namespace: true },
  { header: "NAME", value: (row) => row.name },
  { header: "KIND", value: (row) => row.kind },
  { header: "ACTION", value: (row) => row.action },
  { header: "SCOPE", value: (row) => row.scope },
  { header: "MODE", value: (row) => row.enforcement },
  { header: "SELECTS", value: (row) => String(row.selects) },
  { header: "RULES", value: (row) => String(row.rules), wide: true },
  { header: "FROM", value: (row) => row.from, wide: true },
];

export const routeColumns: readonly Column<RouteView>[] = [
  { header: "NAMESPACE", value: (row) => row.namespace, namespace: true },
  { header: "NAME", value: (row) => row.name },
  { header: "KIND", value: (row) => row.kind },
  { header: "PARENTS", value: (row) => row.parents.join(",") },
  { header: "ROLE", value: (row) => row.role },
  { header: "RULES", value: (row) => String(row.rules.length) },
  { header: "TO", value: (row) => [...new Set(row.rules.map(({ to }) => to))].join(" | ") },
  { header: "MATCHES", value: (row) => row.rules.flatMap(({ matches }) => matches).join(" | "), wide: true },
  { header: "FROM", value: (row) => row.from, wide: true },
];

export const limitColumns: readonly Column<LimitView>[] = [
  { header: "NAMESPACE", value: (row) => row.namespace, namespace: true },
  { header: "NAME", value: (row) => row.name },
  { header: "LIMIT", value: (row) => row.limit },
  { header: "BURST", value: (row) => grouped(row.burst) },
  { header: "PER", value: (row) => row.per || "pod" },
  { header: "MODE", value: (row) => row.mode },
  { header: "SCOPE", value: (row) => row.scope },
  { header: "SELECTS", value: (row) => `${row.here}/${row.selects}` },
  { header: "ADMITTED", value: (row) => grouped(row.admitted) },
  { header: "OVER", value: (row) => grouped(row.limited) },
  { header: "KEYS", value: (row) => grouped(row.keys) },
  { header: "OVERFLOW", value: (row) => grouped(row.overflowed), wide: true },
  { header: "NODE", value: (row) => row.nodeLimit, wide: true },
  { header: "MESH", value: (row) => row.meshLimit, wide: true },
  { header: "PRIORITY", value: (row) => String(row.priority), wide: true },
  { header: "FROM", value: (row) => row.from, wide: true },
];

export const ejectedColumns: readonly Column<EjectedView>[] = [
  { header: "SERVICE", value: (row) => row.name },
  { header: "ENDPOINT", value: (row) => row.endpoint },
  { header: "CALLER", value: (row) => row.caller || "all" },
  { header: "RULE", value: (row) => row.rule || "any" },
  { header: "REASON", value: (row) => row.reason },
  { header: "TIMES", value: (row) => String(row.times) },
  { header: "LEFT", value: (row) => (row.leftMs === 0 ? "due" : duration(row.leftMs)) },
];

export function certColumns(nowMs: number): readonly Column<CertView>[] {
  return [
    { header: "IDENTITY", value: (row) => row.identity },
    { header: "STATE", value: (row) => row.state },
    { header: "SERIAL", value: (row) => row.serial.slice(0, 8) },
    { header: "NOT AFTER", value: (row) => seconds(row.notAfter) },
    { header: "ROTATES", value: (row) => until(row.rotatesAt, nowMs) },
    { header: "PODS", value: (row) => String(row.pods) },
    { header: "NOT BEFORE", value: (row) => seconds(row.notBefore), wide: true },
    { header: "MESSAGE", value: (row) => row.message, wide: true },
  ];
}

export function connectionColumns(nowMs: number): readonly Column<ConnectionView>[] {
  return [
    { header: "NAMESPACE", value: (row) => row.namespace, namespace: true },
    { header: "POD", value: (row) => row.pod },
    { header: "DIR", value: (row) => (row.direction === "outbound" ? "out" : "in") },
    { header: "PEER", value: (row) => (row.peerNamespace === "" ? row.peer : `${row.peer}.${row.peerNamespace}`) },
    { header: "TARGET", value: (row) => target(row) },
    { header: "PROTO", value: (row) => row.protocol },
    // A dump of an earlier version has none of the three.
    { header: "APP", value: ({ application = "tcp" }) => application },
    {
      header: "REQS",
      value: ({ application = "tcp", requests }) => (application === "tcp" ? "" : grouped(requests)),
    },
    { header: "TLS", value: (row) => (row.security === "mtls" ? "mTLS" : row.security) },
    { header: "IDENTITY", value: (row) => `${short(row.sourceIdentity)}→${short(row.destinationIdentity)}` },
    { header: "AGE", value: (row) => duration(nowMs - Date.parse(row.openedAt)) },
    { header: "RTT", value: (row) => roundTrip(row.rttMs) },
    { header: "RETRANS", value: (row) => (row.retransmits === null ? "" : String(rounded(row.retransmits))) },
    {
      header: "VERDICT",
      value: (row) => [row.verdict, row.policy, row.unjudged].filter((text) => text !== "").join(" "),
    },
    { header: "ID", value: (row) => row.id, wide: true },
    { header: "SOURCE", value: (row) => endpointText(row.source), wide: true },
    { header: "DESTINATION", value: (row) => endpointText(row.destination), wide: true },
    { header: "TRACE", value: (row) => row.traceId, wide: true },
    { header: "REQUEST", value: ({ openRequest = null }) => openRequestText(openRequest, nowMs), wide: true },
  ];
}

export const bpfColumns: readonly Column<BpfView>[] = [
  { header: "TYPE", value: (row) => row.type },
  { header: "NAME", value: (row) => row.name },
  { header: "ATTACH", value: (row) => (row.type === "program" ? row.attach : "") },
  { header: "RUNS", value: (row) => (row.type === "program" ? grouped(row.runs) : "") },
  {
    header: "AVG",
    value: (row) => (row.type === "program" && row.runs > 0 ? `${Math.round(row.runNs / row.runs)}ns` : ""),
  },
  {
    header: "FILL",
    value: (row) =>
      row.type === "map"
        ? row.entries < 0
          ? "-"
          : `${grouped(row.entries)}/${grouped(row.maxEntries)}`
        : row.type === "counter"
          ? grouped(row.value)
          : "",
  },
  { header: "FLOWS", value: (row) => (row.type === "pod" ? grouped(row.pendingFlows) : "") },
  { header: "JOINED", value: (row) => (row.type === "pod" ? grouped(row.joinedFlows) : "") },
  { header: "DIALS", value: (row) => (row.type === "pod" ? grouped(row.agentDials) : "") },
  { header: "NODE", value: (row) => (row.type === "pod" ? grouped(row.nodeDials) : "") },
  { header: "ROWS", value: (row) => (row.type === "pod" ? grouped(row.trafficRows) : "") },
  { header: "REFUSED", value: (row) => (row.type === "pod" ? grouped(row.refusedConnects) : "") },
  {
    header: "LOST",
    value: (row) => (row.type === "pod" ? grouped(row.lostEvents) : ""),
  },
  { header: "TAG", value: (row) => (row.type === "program" ? row.tag : ""), wide: true },
  { header: "PINNED", value: (row) => (row.type === "program" ? row.pin : ""), wide: true },
];

const programText = ({ name, pid }: StatusView["nodeAccess"]["programs"][number]): string =>
  pid === null ? name : `${name} (pid ${pid})`;

export const statusColumns: readonly Column<StatusView>[] = [
  { header: "NODE", value: (row) => row.node },
  { header: "AGENT", value: (row) => row.version },
  { header: "UPTIME", value: (row) => duration(row.uptimeSeconds * 1000) },
  { header: "CAPTURED", value: (row) => `${row.pods.captured}/${row.pods.wanted}` },
  { header: "CONNS", value: (row) => grouped(row.connections) },
  { header: "DENIED", value: (row) => grouped(row.denied) },
  {
    header: "CERTS",
    value: (row) => (row.certs.ready === row.certs.all ? "ok" : `${row.certs.ready}/${row.certs.all}`),
  },
  { header: "SOURCE", value: (row) => row.source.state },
  { header: "KEEPER", value: (row) => (row.keeper.connected ? "ok" : "FAIL") },
  { header: "ACCESS", value: (row) => (row.nodeAccess.problem === "" ? row.nodeAccess.mode : "FAIL") },
  { header: "LET IN", value: (row) => row.nodeAccess.programs.map(programText).join(", "), wide: true },
  { header: "BPF", value: (row) => `${row.bpf.programs} loaded` },
  { header: "HEARTBEAT", value: (row) => (row.heartbeatAgeMs === null ? "" : `${Math.round(row.heartbeatAgeMs)}ms`) },
  { header: "THREADS", value: (row) => String(row.threads), wide: true },
  { header: "CONFIG", value: (row) => row.source.from, wide: true },
];

/** @param nowMs Unix time, ms */
export function kindColumns(nowMs: number): readonly Column<KindView>[] {
  return [
    { header: "KIND", value: (row) => row.kind },
    { header: "STATE", value: (row) => row.state },
    { header: "OBJECTS", value: (row) => grouped(row.objects) },
    { header: "AWAY FOR", value: (row) => (row.awaySince === "" ? "" : duration(nowMs - Date.parse(row.awaySince))) },
    { header: "WHY", value: (row) => row.why },
  ];
}

export function pairs(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .toSorted()
    .join(",");
}

function openRequestText(open: ConnectionView["openRequest"], nowMs: number): string {
  return open === null ? "" : `${open.method} ${open.path} ${duration(nowMs - Date.parse(open.since))}`;
}

function target(connection: ConnectionView): string {
  const at = connection.hbone ?? connection.destination;
  if (connection.service === "") return endpointText(at);
  // The first two labels of a service's hostname are its name and namespace; the rest says the same everywhere.
  return `${connection.service.split(".").slice(0, 2).join(".")}:${at.port}`;
}

/** `spiffe://td/ns/shop/sa/web` → `shop/sa/web`. */
export function short(identity: string): string {
  return identity === "" ? "-" : identity.replace(/^spiffe:\/\/[^/]*\/ns\//, "");
}

/** Two digits below ten, none above. */
function rounded(value: number): number {
  return value < 10 ? Math.round(value * 100) / 100 : Math.round(value);
}

function roundTrip(ms: number | null): string {
  return ms === null ? "" : `${rounded(ms)}ms`;
}

/** Seconds are enough for a person. */
function seconds(time: string): string {
  return time.replace(/\.\d+Z$/, "Z");
}

function until(time: string, nowMs: number): string {
  if (time === "") return "";
  const left = Date.parse(time) - nowMs;
  return left > 0 ? duration(left) : "due";
}
