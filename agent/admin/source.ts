// main thread · all that admin may see and do, as functions that agent.ts wires to the rooms that know. Types only.
import type { SourceStatus } from "../control/source.ts";
import type { MapView, NodeAccessView, PodUsageView, ProgramView } from "../keeper/protocol.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { Workload } from "../mesh/workload.ts";
import type { OpenConnection } from "../observe/recorder.ts";
import type { EjectedEndpoint } from "../plan/ejection.ts";
import type { AskedRequest } from "../plan/explain-request.ts";
import type { LimitState } from "../policy/limit-cells.ts";
import type { PortNeed } from "../policy/port-needs.ts";
import type { RequestChange } from "../policy/request-changes.ts";
import type { RequestWarning } from "../policy/request-warnings.ts";
import type { CertView, ExplainView, LogChange, StatusView, WorkloadView } from "./api.ts";

export type PodState = {
  readonly workloadUid: string;
  readonly podIdx: number | null;
  /** leaving: the mesh does not want it, capture goes or has gone, and what is open may end by itself. */
  readonly state: "captured" | "pending" | "failed" | "leaving" | "not-enrolled";
  readonly note: string;
};

/** Times in Unix milliseconds; null: none yet. */
export type CertState = {
  readonly identity: string;
  readonly state: CertView["state"];
  readonly serial: string;
  readonly notBeforeMs: number | null;
  readonly notAfterMs: number | null;
  readonly rotatesAtMs: number | null;
  readonly message: string;
};

/** All that admin may see and do; `agent.ts` wires it. Nothing here can name a private key. */
export type AdminSource = {
  readonly node: string;
  readonly version: string;
  readonly abi: number;
  readonly startedAtMs: number;
  readonly threads: number;
  readonly now: () => number;
  /** The mesh as this agent believes it now. */
  readonly mesh: Snapshot;
  /** PeerAuthentication as it applies to the workload as a whole. */
  readonly mode: (workload: Workload) => WorkloadView["mode"];
  /** Of a workload of this node, which of its ports have to be read. */
  readonly portNeeds: (workload: Workload) => readonly PortNeed[];
  /** Rules about requests that may not do what their author thinks, where workloads of this node are concerned. */
  readonly requestWarnings: () => readonly RequestWarning[];
  /** Each policy with fields of HTTP, and what this release makes of it that earlier releases did not. */
  readonly requestChanges: () => readonly RequestChange[];
  /** What the data threads have counted by the LimitPolicy `<namespace>/<name>`; undefined: they know none. */
  readonly limitState: (name: string) => LimitState | undefined;
  readonly pods: () => readonly PodState[];
  readonly certs: () => readonly CertState[];
  /** Why the trusted roots could not be read the last time; empty: they were. */
  readonly rootsTrouble: () => string;
  /** From all data threads; at most `limit` from each. */
  readonly connections: (limit: number) => Promise<readonly OpenConnection[]>;
  /** Endpoints that are left out because they fail, from all data threads. */
  readonly ejected: () => Promise<readonly EjectedEndpoint[]>;
  readonly openConnections: () => number;
  readonly denied: () => number;
  readonly bpf: () => Promise<{
    readonly programs: readonly ProgramView[];
    readonly maps: readonly MapView[];
    readonly pods: readonly PodUsageView[];
  }>;
  /** The kernel's counters by name; null: not readable. */
  readonly counters: () => Readonly<Record<string, number>> | null;
  /** The source's own status: what was written, what runs, what is wrong with it. */
  readonly configuration: () => SourceStatus;
  readonly keeper: () => StatusView["keeper"];
  /** What the keeper says; without a keeper its `problem` does. */
  readonly nodeAccess: () => Promise<NodeAccessView>;
  readonly heartbeatAgeMs: () => number | null;
  readonly pending: () => readonly string[];
  readonly notes: () => readonly string[];
  /**
   * `src` names a workload, `dst` a workload, service or address with a port; an error names what it could not find, `unusable` what
   * cannot be part of a request.
   */
  readonly explain: (
    src: string,
    dst: string,
    request: AskedRequest,
  ) => Promise<ExplainView | { readonly error: string } | { readonly unusable: string }>;
  readonly logLevels: () => readonly { readonly room: string; readonly level: string; readonly until: number | null }[];
  /** undefined: done; else what was wrong. */
  readonly setLog: (change: LogChange) => string | undefined;
};
