// 15 · any thread · what is known of one connection, as a value: who, where to, what was decided, how it ended.
import type { Endpoint } from "../mesh/endpoint.ts";
import type { Service } from "../mesh/service.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { Workload } from "../mesh/workload.ts";
import type { DecisionSummary } from "./decision-summary.ts";

/** Which end tells: the client's node reports "source", the server's "destination". */
export type Reporter = "source" | "destination";
export type Direction = "outbound" | "inbound";

/** ztunnel's closed list of response flags; "-": nothing went wrong. Each has a page in docs/reasons/. */
export const responseFlags = [
  "-",
  "DENY",
  "CONNECT",
  "TLS_FAILURE",
  "H2_HANDSHAKE_FAILURE",
  "NETWORK_POLICY",
  "IDENTITY_ERROR",
  "CERT_REVOKED",
] as const;
export type ResponseFlag = (typeof responseFlags)[number];

/** Why nobody judged a connection that was allowed. Each has a page in docs/reasons/. */
export const unjudgedReasons = ["node-access"] as const;

/** One end of a connection. `identity` is proved (own, or by certificate); null: nobody proved anything. */
export type Party = Endpoint & {
  readonly workload: Workload | null;
  readonly identity: SpiffeId | null;
};

export type RecordService = { readonly name: string; readonly namespace: string; readonly hostname: string };

export function recordService(service: Service | null): RecordService | null {
  return service === null ? null : { name: service.name, namespace: service.namespace, hostname: service.hostname };
}

export type ConnectionRecord = {
  readonly reporter: Reporter;
  readonly direction: Direction;
  /** The keeper's index of the pod that this node serves at the reporting end. */
  readonly podIdx: number;
  readonly source: Party;
  /** The TCP destination: `<pod>:15008` when tunnelled, and then `hbone` is the target inside. */
  readonly destination: Party;
  readonly hbone: Endpoint | null;
  /** What the application asked for, when that was something else (a VIP). */
  readonly dialled: Endpoint | null;
  readonly service: RecordService | null;
  readonly security: "mtls" | "socket" | "none";
  readonly decision: DecisionSummary | null;
  /** Why nobody judged it; null: somebody did, or it ended before. */
  readonly unjudged: (typeof unjudgedReasons)[number] | null;
  /** 32 hex digits of the traceparent; empty: none. */
  readonly traceId: string;
};

/** The ends of a new record; of an end without `workload` and `identity` only the address is known. */
type KnownEnd = Endpoint & Partial<Party>;
export type KnownOfConnection = Pick<ConnectionRecord, "reporter" | "podIdx"> &
  Partial<Omit<ConnectionRecord, "reporter" | "direction" | "podIdx" | "source" | "destination">> & {
    readonly source: KnownEnd;
    readonly destination: KnownEnd;
  };

/** A record with `known`. What `known` leaves out is as of plaintext between ends that nobody knows. */
export function connectionRecord(known: KnownOfConnection): ConnectionRecord {
  return {
    reporter: known.reporter,
    direction: known.reporter === "source" ? "outbound" : "inbound",
    podIdx: known.podIdx,
    source: partyOf(known.source),
    destination: partyOf(known.destination),
    hbone: known.hbone ?? null,
    dialled: known.dialled ?? null,
    service: known.service ?? null,
    security: known.security ?? "none",
    decision: known.decision ?? null,
    unjudged: known.unjudged ?? null,
    traceId: known.traceId ?? "",
  };
}

function partyOf({ address, port, workload, identity }: KnownEnd): Party {
  return { address, port, workload: workload ?? null, identity: identity ?? null };
}

/** How a connection ended. `cause` is the engine's CloseCause or a word of `traffic`; `message` may hold hostile bytes. */
export type Outcome = {
  readonly flag: ResponseFlag;
  readonly cause: string;
  readonly message: string;
  /** Payload bytes from downstream to upstream, and back. */
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly durationUs: number;
  /** Set when a later judgement ended it (policy change); replaces the first decision in the log line. */
  readonly decision?: DecisionSummary;
  /** Refused before policy was asked, or without an answer of it. */
  readonly early?: boolean;
};
