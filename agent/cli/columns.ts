// CLI · the columns of each table, once for `get` and once for `wide`.
import type {
  BpfView,
  CertView,
  ConnectionView,
  PolicyView,
  ServiceView,
  StatusView,
  WorkloadView,
} from "../admin/api.ts";
import { endpointText } from "../mesh/endpoint.ts";
import { type Column, duration, grouped } from "./output.ts";

export const workloadColumns: readonly Column<WorkloadView>[] = [
  { header: "NAMESPACE", value: (one) => one.namespace, namespace: true },
  { header: "NAME", value: (one) => one.name },
  { header: "ADDRESS", value: (one) => one.addresses.join(",") },
  { header: "NODE", value: (one) => one.node },
  { header: "PROTOCOL", value: (one) => one.protocol },
  { header: "MODE", value: (one) => one.mode },
  { header: "CAPTURE", value: (one) => one.capture },
  { header: "HEALTHY", value: (one) => (one.healthy ? "yes" : "no") },
  { header: "IDENTITY", value: (one) => one.identity, wide: true },
  { header: "LABELS", value: (one) => pairs(one.labels), wide: true },
  { header: "NOTE", value: (one) => one.captureNote, wide: true },
  { header: "FROM", value: (one) => one.from, wide: true },
];

export const serviceColumns: readonly Column<ServiceView>[] = [
  { header: "NAMESPACE", value: (one) => one.namespace, namespace: true },
  { header: "NAME", value: (one) => one.name },
  { header: "VIP", value: (one) => one.vips.join(",") },
  { header: "PORTS", value: (one) => one.ports.map(({ port }) => String(port)).join(",") },
  {
    header: "ENDPOINTS",
    value: (one) => `${one.endpoints.filter(({ healthy }) => healthy).length}/${one.endpoints.length}`,
  },
  { header: "HOSTNAME", value: (one) => one.hostname, wide: true },
  { header: "FROM", value: (one) => one.from, wide: true },
];

export const policyColumns: readonly Column<PolicyView>[] = [
  { header: "NAMESPACE", value: (one) => one.namespace, namespace: true },
  { header: "NAME", value: (one) => one.name },
  { header: "KIND", value: (one) => one.kind },
  { header: "ACTION", value: (one) => one.action },
  { header: "SCOPE", value: (one) => one.scope },
  { header: "MODE", value: (one) => one.enforcement },
  { header: "SELECTS", value: (one) => String(one.selects) },
  { header: "RULES", value: (one) => String(one.rules), wide: true },
  { header: "FROM", value: (one) => one.from, wide: true },
];

export function certColumns(nowMs: number): readonly Column<CertView>[] {
  return [
    { header: "IDENTITY", value: (one) => one.identity },
    { header: "STATE", value: (one) => one.state },
    { header: "SERIAL", value: (one) => one.serial.slice(0, 8) },
    { header: "NOT AFTER", value: (one) => seconds(one.notAfter) },
    { header: "ROTATES", value: (one) => until(one.rotatesAt, nowMs) },
    { header: "PODS", value: (one) => String(one.pods) },
    { header: "NOT BEFORE", value: (one) => seconds(one.notBefore), wide: true },
    { header: "MESSAGE", value: (one) => one.message, wide: true },
  ];
}

export function connectionColumns(nowMs: number): readonly Column<ConnectionView>[] {
  return [
    { header: "NAMESPACE", value: (one) => one.namespace, namespace: true },
    { header: "POD", value: (one) => one.pod },
    { header: "DIR", value: (one) => (one.direction === "outbound" ? "out" : "in") },
    { header: "PEER", value: (one) => (one.peerNamespace === "" ? one.peer : `${one.peer}.${one.peerNamespace}`) },
    { header: "TARGET", value: (one) => target(one) },
    { header: "PROTO", value: (one) => one.protocol },
    { header: "TLS", value: (one) => (one.security === "mtls" ? "mTLS" : one.security) },
    { header: "IDENTITY", value: (one) => `${short(one.sourceIdentity)}→${short(one.destinationIdentity)}` },
    { header: "AGE", value: (one) => duration(nowMs - Date.parse(one.openedAt)) },
    { header: "RTT", value: (one) => roundTrip(one.rttMs) },
    { header: "RETRANS", value: (one) => (one.retransmits === null ? "" : String(rounded(one.retransmits))) },
    { header: "VERDICT", value: (one) => [one.verdict, one.policy].filter((text) => text !== "").join(" ") },
    { header: "ID", value: (one) => one.id, wide: true },
    { header: "SOURCE", value: (one) => endpointText(one.source), wide: true },
    { header: "DESTINATION", value: (one) => endpointText(one.destination), wide: true },
    { header: "TRACE", value: (one) => one.traceId, wide: true },
  ];
}

export const bpfColumns: readonly Column<BpfView>[] = [
  { header: "TYPE", value: (one) => one.type },
  { header: "NAME", value: (one) => one.name },
  { header: "ATTACH", value: (one) => (one.type === "program" ? one.attach : "") },
  { header: "RUNS", value: (one) => (one.type === "program" ? grouped(one.runs) : "") },
  {
    header: "AVG",
    value: (one) => (one.type === "program" && one.runs > 0 ? `${Math.round(one.runNs / one.runs)}ns` : ""),
  },
  {
    header: "FILL",
    value: (one) =>
      one.type === "map"
        ? one.entries < 0
          ? "-"
          : `${grouped(one.entries)}/${grouped(one.maxEntries)}`
        : one.type === "counter"
          ? grouped(one.value)
          : "",
  },
  { header: "FLOWS", value: (one) => (one.type === "pod" ? grouped(one.pendingFlows) : "") },
  { header: "JOINED", value: (one) => (one.type === "pod" ? grouped(one.joinedFlows) : "") },
  { header: "DIALS", value: (one) => (one.type === "pod" ? grouped(one.agentDials) : "") },
  { header: "ROWS", value: (one) => (one.type === "pod" ? grouped(one.trafficRows) : "") },
  { header: "REFUSED", value: (one) => (one.type === "pod" ? grouped(one.refusedConnects) : "") },
  {
    header: "LOST",
    value: (one) => (one.type === "pod" ? grouped(one.lostEvents) : ""),
  },
  { header: "TAG", value: (one) => (one.type === "program" ? one.tag : ""), wide: true },
  { header: "PINNED", value: (one) => (one.type === "program" ? one.pin : ""), wide: true },
];

export const statusColumns: readonly Column<StatusView>[] = [
  { header: "NODE", value: (one) => one.node },
  { header: "AGENT", value: (one) => one.version },
  { header: "UPTIME", value: (one) => duration(one.uptimeSeconds * 1000) },
  { header: "CAPTURED", value: (one) => `${one.pods.captured}/${one.pods.wanted}` },
  { header: "CONNS", value: (one) => grouped(one.connections) },
  { header: "DENIED", value: (one) => grouped(one.denied) },
  {
    header: "CERTS",
    value: (one) => (one.certs.ready === one.certs.all ? "ok" : `${one.certs.ready}/${one.certs.all}`),
  },
  { header: "SOURCE", value: (one) => one.source.state },
  { header: "KEEPER", value: (one) => (one.keeper.connected ? "ok" : "FAIL") },
  { header: "BPF", value: (one) => `${one.bpf.programs} loaded` },
  { header: "HEARTBEAT", value: (one) => (one.heartbeatAgeMs === null ? "" : `${Math.round(one.heartbeatAgeMs)}ms`) },
  { header: "THREADS", value: (one) => String(one.threads), wide: true },
  { header: "CONFIG", value: (one) => one.source.from, wide: true },
];

export function pairs(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .toSorted()
    .join(",");
}

function target(one: ConnectionView): string {
  const at = one.hbone ?? one.destination;
  if (one.service === "") return endpointText(at);
  // The first two labels of a service's hostname are its name and namespace; the rest says the same everywhere.
  return `${one.service.split(".").slice(0, 2).join(".")}:${at.port}`;
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
