// 7, 12 · data thread · the header values of a CONNECT (docs/reference/hbone.md#connect). They label metrics and
// logs; none decides anything.
import { type Endpoint, endpointText } from "../mesh/endpoint.ts";
import { canonicalIp } from "../mesh/ip.ts";
import type { Workload } from "../mesh/workload.ts";

/** Longest value of one baggage member, in bytes: Kubernetes names are at most 253. */
const MAX_VALUE = 253;
/** Longest baggage that is read; the engine caps what it hands over at the same. */
const MAX_BAGGAGE = 4096;

/** What a peer says of its client. For metrics and logs alone (docs/reference/failures.md, row E3); absent members are empty. */
export type PeerBaggage = {
  readonly cluster: string;
  readonly namespace: string;
  readonly workloadName: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  readonly region: string;
  readonly zone: string;
};

const known = new WeakMap<Workload, string>();

/** The `baggage` of a workload, members in ztunnel's order, empty ones left out. Made once for each workload value. */
export function baggageOf(workload: Workload): string {
  const made = known.get(workload) ?? writeBaggage(workload);
  known.set(workload, made);
  return made;
}

function writeBaggage(workload: Workload): string {
  const kind = workload.workloadName === "" || workload.workloadName === workload.name ? "pod" : "deployment";
  const members: readonly (readonly [string, string])[] = [
    ["k8s.cluster.name", workload.cluster],
    ["k8s.namespace.name", workload.namespace],
    [`k8s.${kind}.name`, kind === "pod" ? workload.name : workload.workloadName],
    ["service.name", workload.canonicalName],
    ["service.version", workload.canonicalRevision],
    ["cloud.region", workload.locality.region],
    ["cloud.availability_zone", workload.locality.zone],
  ];
  return members
    .filter(([, value]) => value !== "")
    .map(([key, value]) => `${key}=${escaped(value)}`)
    .join(",");
}

// W3C baggage-octet without %, which introduces an escape. Whatever else a name holds cannot end the member or the header.
function escaped(value: string): string {
  const bytes = Buffer.from(value, "utf8").subarray(0, MAX_VALUE);
  let text = "";
  for (const byte of bytes) {
    const plain = byte > 0x20 && byte < 0x7f && !`",;\\%`.includes(String.fromCharCode(byte));
    text += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return text;
}

/** Reads what a peer sent. Never throws; what is malformed or too long is left out. */
export function parseBaggage(text: string): PeerBaggage {
  const found = new Map<string, string>();
  for (const member of text.slice(0, MAX_BAGGAGE).split(",")) {
    const [pair = ""] = member.split(";", 1);
    const cut = pair.indexOf("=");
    if (cut < 1) continue;
    const key = pair.slice(0, cut).trim();
    // The first wins: a member appended by someone further away cannot replace it.
    if (!found.has(key)) found.set(key, unescaped(pair.slice(cut + 1).trim()));
  }
  const value = (key: string): string => found.get(key) ?? "";
  return {
    cluster: value("k8s.cluster.name"),
    namespace: value("k8s.namespace.name"),
    workloadName:
      value("k8s.deployment.name") || value("k8s.cronjob.name") || value("k8s.pod.name") || value("k8s.job.name"),
    canonicalName: value("service.name"),
    canonicalRevision: value("service.version"),
    region: value("cloud.region"),
    zone: value("cloud.availability_zone"),
  };
}

function unescaped(value: string): string {
  if (value.length > MAX_VALUE * 3) return "";
  const bytes = value.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  const text = Buffer.from(bytes, "latin1").toString("utf8");
  return /^[\x20-\x7e]{0,253}$/.test(text) ? text : "";
}

/** `forwarded` of an outgoing CONNECT: the client, and the Service it asked for, if any. */
export function forwardedOf(client: Endpoint, serviceHostname: string | null): string {
  // Hostnames come from configuration; a name that needs quoting is left out rather than sent half-escaped.
  const host = serviceHostname !== null && /^[A-Za-z0-9._*-]{1,253}$/.test(serviceHostname) ? serviceHostname : null;
  return host === null ? `for="${endpointText(client)}"` : `for="${endpointText(client)}";host=${host}`;
}

/** The host of a peer's `forwarded`, quotes stripped; empty when absent or not a plain host name. */
export function hostOfForwarded(text: string): string {
  const match = /(?:^|[;,\s])host="?([A-Za-z0-9._-]{1,253})"?(?:$|[;,\s])/i.exec(text.slice(0, MAX_BAGGAGE));
  return match?.[1]?.toLowerCase() ?? "";
}

/**
 * The client's port in a peer's `forwarded`, when it names this address; 0: it does not. The peer may lie, and no rule sees it: it is
 * the port from which the application is dialled, if that may be had.
 */
export function portOfForwarded(text: string, address: string): number {
  const match = /(?:^|[;,\s])for="?\[?([0-9A-Fa-f.:]{2,45}?)\]?:([0-9]{1,5})"?(?:$|[;,\s])/i.exec(
    text.slice(0, MAX_BAGGAGE),
  );
  const [, said = "", digits = "0"] = match ?? [];
  const port = Number(digits);
  return (said === address || canonicalIp(said) === address) && port <= 65_535 ? port : 0;
}

/** The trace id of a well-formed traceparent, else empty: `00-<32 hex>-<16 hex>-<2 hex>`, exactly 55 characters. */
export function traceIdOf(traceparent: string): string {
  const match = traceparent.length === 55 ? /^00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/.exec(traceparent) : null;
  return match?.[1] ?? "";
}

/** Makes traceparents out of `fill` (a cryptographic source), 64 to each call: a traceparent costs a slice, not a system call. */
export function traceparents(fill: (bytes: Uint8Array) => void): () => string {
  const pool = Buffer.alloc(24 * 64);
  let next = pool.length;
  return () => {
    if (next === pool.length) {
      fill(pool);
      next = 0;
    }
    const trace = pool.toString("hex", next, next + 16);
    const span = pool.toString("hex", next + 16, next + 24);
    next += 24;
    return `00-${trace}-${span}-00`;
  };
}
