// any thread · the admin socket's requests and replies, as JSON. Types, constants and one translation; imports types only.

import type { NodeAccessView } from "../keeper/protocol.ts";
import type { Endpoint } from "../mesh/endpoint.ts";
import { fullName } from "../mesh/full-name.ts";
import { type FilePosition, isFilePosition, nowhere, type SourceRef } from "../mesh/source-ref.ts";
import type { Explanation } from "../plan/explain.ts";
import type { Miss, RuleRef } from "../policy/decision.ts";
import type { Finding } from "../process/preflight.ts";
import type { EjectedView } from "./ejected-views.ts";
import type { TrafficView } from "./traffic-views.ts";

export type { Finding } from "../process/preflight.ts";

export const apiVersion = "orlop.dev/v1alpha1";
export const defaultSocket = "/run/orlop/agent.sock";

/** Every list. `truncated`: how many more there were. */
export type List<Kind extends string, Item> = {
  readonly apiVersion: typeof apiVersion;
  readonly kind: Kind;
  readonly items: readonly Item[];
  readonly truncated?: number;
};

/** Whether connections to a port of a workload have to be read, by the rules. */
export type PortNeedView = {
  /** null: any port that is neither listed beside it nor named by a rule. */
  readonly port: number | null;
  readonly read: boolean;
  /** Each a reason of agent/policy/http-need.ts, with its rule, if a rule is it: `allow-rule shop/readers[0]`. */
  readonly reasons: readonly string[];
  /** What Services say that the port speaks: `http1 (port name http of Service shop/api)`. */
  readonly declared: readonly string[];
};

export type WorkloadView = {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly addresses: readonly string[];
  readonly node: string;
  readonly protocol: "HBONE" | "TCP";
  readonly identity: string;
  /** What plaintext to its ports meets when no port says otherwise. */
  readonly mode: "STRICT" | "PERMISSIVE" | "DISABLE";
  readonly labels: Readonly<Record<string, string>>;
  readonly healthy: boolean;
  readonly weight: number;
  /**
   * "remote": another node's pod, which this agent does not capture. "left-out": its labels put it into the mesh, and something in it
   * keeps it outside. "leaving": it is being taken out of the mesh.
   */
  readonly capture: "captured" | "pending" | "failed" | "leaving" | "not-enrolled" | "left-out" | "remote";
  /** Why capture failed or waits, or why the pod is outside; empty otherwise. */
  readonly captureNote: string;
  /** The pod's index in the kernel maps; null: not enrolled here. */
  readonly podIdx: number | null;
  /** Empty: another node's pod. Absent: of an older agent. */
  readonly http?: readonly PortNeedView[];
  /** `<file>:<line>`, or `<kind>/<namespace>/<name>@<resourceVersion>`. */
  readonly from: string;
};

export type ServiceView = {
  readonly name: string;
  readonly namespace: string;
  readonly hostname: string;
  readonly vips: readonly string[];
  readonly ports: readonly { readonly name: string; readonly port: number; readonly targetPort: string }[];
  readonly endpoints: readonly { readonly address: string; readonly workload: string; readonly healthy: boolean }[];
  /** What a DestinationRule says of it; null: none does. Absent: the agent is of an earlier version. */
  readonly traffic?: TrafficView | null;
  /** `<namespace>/<name>` of the LimitPolicies about any of its workloads. Absent: as before. */
  readonly limits?: readonly string[];
  readonly from: string;
};

export type RouteView = {
  readonly kind: "HTTPRoute" | "GRPCRoute" | "TLSRoute" | "TCPRoute";
  readonly name: string;
  readonly namespace: string;
  /** `<namespace>/<name>`, with `:<port>` where the route is about a single port. */
  readonly parents: readonly string[];
  /** Whose requests it takes: of every caller of a Service of its own namespace, or of callers of its namespace alone. */
  readonly role: "producer" | "consumer" | "both";
  readonly rules: readonly RouteRuleView[];
  readonly from: string;
};

export type RouteRuleView = {
  /** Empty: it has none. */
  readonly name: string;
  readonly matches: readonly string[];
  readonly to: string;
  /** Empty: nothing changes. */
  readonly changes: string;
  readonly from: string;
};

export type LimitView = {
  readonly name: string;
  readonly namespace: string;
  readonly mode: "enforce" | "shadow" | "standby";
  readonly priority: number;
  /** Of each pod: `100/second`. */
  readonly limit: string;
  readonly burst: number;
  /** `source, header x-user`; empty: all requests together. */
  readonly per: string;
  /** "mesh", "namespace", or the selector as `key=value,…`. */
  readonly scope: string;
  /** Workloads of this mesh that it selects, and those of them on this node. */
  readonly selects: number;
  readonly here: number;
  /** Of all those pods together, where each gets requests enough: on this node, and in the mesh. */
  readonly nodeLimit: string;
  readonly meshLimit: string;
  /** Requests that all data threads of this agent have admitted and refused (in mode shadow: would have refused). */
  readonly admitted: number;
  readonly limited: number;
  /** Requests of those whose key had no bucket of its own. */
  readonly overflowed: number;
  /** Buckets that are not full now. */
  readonly keys: number;
  readonly from: string;
};

export type PolicyView = {
  readonly kind: "AuthorizationPolicy" | "PeerAuthentication";
  readonly name: string;
  readonly namespace: string;
  /** ALLOW, DENY, AUDIT; of a PeerAuthentication its mode. */
  readonly action: string;
  /** "mesh", "namespace", or the selector as `key=value,…`. */
  readonly scope: string;
  readonly enforcement: "enforce" | "dry-run";
  readonly rules: number;
  /** Workloads of this mesh that it selects. */
  readonly selects: number;
  readonly from: string;
};

export type CertView = {
  readonly identity: string;
  /** "ready" also while a renewal fails: the old one still holds, `message` says what failed. */
  readonly state: "ready" | "pending" | "failed" | "expired";
  readonly serial: string;
  /** RFC 3339; empty until there is a certificate. */
  readonly notBefore: string;
  readonly notAfter: string;
  readonly rotatesAt: string;
  readonly pods: number;
  readonly message: string;
};

export type ConnectionView = {
  readonly id: string;
  readonly openedAt: string;
  readonly reporter: "source" | "destination";
  readonly direction: "outbound" | "inbound";
  readonly namespace: string;
  readonly pod: string;
  readonly peer: string;
  readonly peerNamespace: string;
  readonly source: Endpoint;
  readonly destination: Endpoint;
  /** The target inside the tunnel; null: no tunnel. */
  readonly hbone: Endpoint | null;
  readonly service: string;
  readonly protocol: "HBONE" | "TCP";
  readonly security: "mtls" | "socket" | "none";
  readonly sourceIdentity: string;
  readonly destinationIdentity: string;
  readonly verdict: "allow" | "deny" | "";
  /** Why nobody judged it; empty: somebody did. */
  readonly unjudged: "node-access" | "";
  readonly policy: string;
  readonly traceId: string;
  /** What the application speaks: "tcp" where nobody reads it, "opaque" where it was to be read and is no HTTP/1. */
  readonly application: "tcp" | "http/1.1" | "http/2" | "websocket" | "opaque";
  /** Begun on it so far. */
  readonly requests: number;
  /** The request that is open; its path without the query. */
  readonly openRequest: { readonly method: string; readonly path: string; readonly since: string } | null;
  /**
   * As TCP measures it now, on the connection's leg to its peer; of an HBONE connection, on its tunnel. Of a connection that
   * no agent sees, the mean of ended connections of the same pod, port and way. Milliseconds; null: not measured.
   */
  readonly rttMs: number | null;
  /** Segments that were sent again, measured as `rttMs` is. */
  readonly retransmits: number | null;
};

/** Programs, maps, the kernel's counters and pods, in one list. */
export type BpfView =
  | {
      readonly type: "program";
      readonly name: string;
      readonly attach: string;
      readonly pin: string;
      readonly tag: string;
      readonly runs: number;
      readonly runNs: number;
    }
  | { readonly type: "map"; readonly name: string; readonly entries: number; readonly maxEntries: number }
  | { readonly type: "counter"; readonly name: string; readonly value: number }
  /** What one pod holds of the maps that all pods share. */
  | {
      readonly type: "pod";
      readonly name: string;
      readonly pendingFlows: number;
      readonly joinedFlows: number;
      readonly agentDials: number;
      /** Of programs of the node. */
      readonly nodeDials: number;
      readonly trafficRows: number;
      readonly refusedConnects: number;
      readonly lostEvents: number;
    };

/** One mistake in the configuration, in the three lines a person gets. */
export type ConfigErrorView = {
  readonly code: string;
  readonly at: string;
  readonly what: string;
  readonly why: string;
  readonly fix: string;
};

/** How a kind of an API server's objects is doing. */
export type KindView = {
  readonly kind: string;
  readonly objects: number;
  readonly state: "listing" | "watching" | "away";
  /** RFC 3339: since then it cannot be read, and what was read before runs; empty: it can. */
  readonly awaySince: string;
  readonly why: string;
};

export type StatusView = {
  readonly node: string;
  readonly version: string;
  readonly uptimeSeconds: number;
  readonly pods: { readonly captured: number; readonly wanted: number };
  readonly connections: number;
  /** Refusals since the agent began. */
  readonly denied: number;
  readonly certs: { readonly ready: number; readonly all: number };
  readonly source: {
    readonly kind: string;
    readonly from: string;
    /**
     * "synced": what is written is what runs. "rejected": the last good configuration runs. "waiting": nothing was read yet.
     * "held": what is written may take protection away and may be half of a file that is being written; what was accepted before
     * runs until the file has been still for 3 s, or is put into place by rename.
     * "partial": objects that are wrong are closed, or run as they were before; all others are what runs.
     * "stale": the source does not answer; what it said before runs.
     */
    readonly state: "synced" | "rejected" | "held" | "waiting" | "partial" | "stale";
    /** What runs came from the last good copy on disk. */
    readonly fromLastGood: boolean;
    /** RFC 3339 of the last accepted configuration by which every data thread judges; so are the other fields. Empty: there is none. */
    readonly appliedAt: string;
    readonly objects: number;
    readonly errors: readonly ConfigErrorView[];
    /** Valid, but without effect here. */
    readonly notHonoured: readonly ConfigErrorView[];
    /** Each kind that is read of an API server; empty for files. */
    readonly kinds: readonly KindView[];
  };
  readonly keeper: { readonly connected: boolean; readonly message: string };
  /** Programs of the node that reach its pods past their policy. */
  readonly nodeAccess: NodeAccessView;
  /** Pods of this node whose requests are read, and on which ports; null: on all others. `orlop describe` says why. */
  readonly requestsRead: readonly { readonly pod: string; readonly ports: readonly (number | null)[] }[];
  readonly bpf: { readonly programs: number; readonly abi: number };
  /** Milliseconds; null: no heartbeat map yet. */
  readonly heartbeatAgeMs: number | null;
  readonly threads: number;
  /** Tasks readiness still waits for. */
  readonly pending: readonly string[];
  readonly notes: readonly string[];
};

export type RuleView = {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly rule: number;
  readonly file: string;
  readonly line: number;
};
export type MissView = {
  readonly policy: string;
  readonly rule: number;
  readonly field: string;
  readonly want: string;
  readonly got: string;
  readonly file: string;
  readonly line: number;
  readonly column: number;
};

/** The answer of `orlop explain`, through the agent or offline. */
export type ExplainView = {
  readonly apiVersion: typeof apiVersion;
  readonly kind: "Decision";
  readonly verdict: "allow" | "deny";
  readonly layer: string;
  /** A deny reason or the router's refusal; empty when allowed. */
  readonly reason: string;
  readonly decidedBy: RuleView | null;
  readonly nearestMiss: readonly MissView[];
  readonly src: string;
  readonly dst: string;
  readonly steps: readonly { readonly id: string; readonly status: string; readonly summary: string }[];
};

export function explainView(explanation: Explanation): ExplainView {
  const { verdict, layer, reason, decidedBy, nearestMiss, src, dst, steps } = explanation;
  return {
    apiVersion,
    kind: "Decision",
    verdict,
    layer,
    reason,
    decidedBy: decidedBy && ruleView(decidedBy),
    nearestMiss: nearestMiss.map(missView),
    src,
    dst,
    steps: steps.map(({ id, status, summary }) => ({ id, status, summary })),
  };
}

function ruleView({ kind, namespace, name, rule, from }: RuleRef): RuleView {
  const { file, line } = filePosition(from);
  return { kind, namespace, name, rule, file, line };
}

function missView({ rule, field, want, got }: Miss): MissView {
  const { file, line, column } = filePosition(rule.from);
  return { policy: fullName(rule), rule: rule.rule, field, want, got, file, line, column };
}

/** Objects of an API server are known by their names, which are beside; they have no position in a file. */
function filePosition(from: SourceRef): FilePosition {
  return isFilePosition(from) ? from : nowhere;
}

export type LogLevelView = { readonly room: string; readonly level: string; readonly until: string };
/** PUT /v1/log. `forSeconds` null: until the agent ends. */
export type LogChange = { readonly room: string; readonly level: string; readonly forSeconds: number | null };

export type VersionView = {
  readonly node: string;
  readonly version: string;
  readonly abi: number;
  readonly nodejs: string;
};

export type ErrorView = {
  readonly apiVersion: typeof apiVersion;
  readonly kind: "Error";
  readonly code: string;
  readonly message: string;
};

/** GET /v1/<name>; `orlop dump` is all of them in one object under these names. */
export type Views = {
  readonly status: StatusView;
  readonly workloads: List<"WorkloadList", WorkloadView>;
  readonly services: List<"ServiceList", ServiceView>;
  readonly policies: List<"PolicyList", PolicyView>;
  readonly routes: List<"RouteList", RouteView>;
  readonly limits: List<"LimitList", LimitView>;
  readonly ejected: List<"EjectedList", EjectedView>;
  readonly certs: List<"CertificateList", CertView>;
  readonly connections: List<"ConnectionList", ConnectionView>;
  readonly bpf: List<"BpfList", BpfView>;
  readonly findings: List<"FindingList", Finding>;
  readonly log: List<"LogLevelList", LogLevelView>;
  readonly version: VersionView;
};
export type ViewName = keyof Views;
export const viewNames = [
  "status",
  "workloads",
  "services",
  "policies",
  "routes",
  "limits",
  "ejected",
  "certs",
  "connections",
  "bpf",
  "findings",
  "log",
  "version",
] as const satisfies readonly ViewName[];

export type Dump = { readonly apiVersion: typeof apiVersion; readonly kind: "Dump" } & Views;
