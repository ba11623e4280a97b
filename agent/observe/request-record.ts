// 19 · any thread · one request on a connection that was read: what was asked, what was decided, what was answered.
import type { DecisionSummary } from "./decision-summary.ts";
import type { ConnectionRecord } from "./record.ts";

/**
 * Envoy's flags, as far as something here means the same; "-": none of them; several as Envoy joins them
 * (envoy:docs/root/configuration/observability/access_log/usage.rst, docs/metrics.md#flags-of-requests).
 */
export const requestFlags = [
  "-",
  "DC",
  "DI",
  "DI,FI",
  "DPE",
  "FI",
  "LR",
  "NC",
  "NR",
  "OM",
  "RL",
  "SI",
  "UC",
  "UC,UO",
  "UC,URX",
  "UF",
  "UF,UO",
  "UF,URX",
  "UH",
  "UO",
  "UO,UPE",
  "UPE",
  "URX",
  "URX,UPE",
  "UT",
  "UT,UO",
  "UT,URX",
] as const;
export type RequestFlag = (typeof requestFlags)[number];

export type RequestRecord = {
  readonly connection: ConnectionRecord;
  /** Empty, with path and host: the head was refused before anybody could say what it asks for. */
  readonly method: string;
  /** Without its query, which may hold what no log should. */
  readonly path: string;
  readonly host: string;
  /** What the caller calls it in `x-request-id`; empty: nothing. At most 128 characters. */
  readonly id: string;
  /** null: nobody was asked. */
  readonly decision: DecisionSummary | null;
  /** Of a request that was read at the caller's end; null: it was not. */
  readonly route: RecordedRoute | null;
  /** How often it was tried at an endpoint; 0: it did not go on. Where it arrives it is tried once. */
  readonly attempts: number;
  /** 0: no response. */
  readonly status: number;
  /** Of a call of gRPC; -1: it ended without. Absent: it was none. */
  readonly grpcStatus?: number | undefined;
  /** Services of whom each was to get a copy, `<namespace>/<name>:<port>`. Absent: none. */
  readonly mirrors?: readonly string[] | undefined;
  readonly flag: RequestFlag;
  /** How it ended, in Envoy's words where it has some (plan/request-outcome.ts). */
  readonly details: string;
  /** Which message was no acceptable HTTP/1, and why; null: both were. */
  readonly refused: HttpRefusal | null;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly durationUs: number;
};

/**
 * `name`: `<namespace>/<name>[<rule>]` of the rule that took it; empty: none did, or the port's routes have gone. `answer`: why it was
 * answered at the caller's end; null: it went on.
 */
export type RecordedRoute = { readonly name: string; readonly answer: RouteAnswer | null };

/** Why a request is answered at the caller's end. A closed list. */
export const routeAnswers = [
  "no-route", //    404: no rule takes it
  "too-many-matches", // 500: not found among as many matches as are tried for a request
  "redirect", //    as its rule says
  "preflight", //   204, 403: a browser asks what a page of another origin may do
  "no-backend", //  500: its rule has no backend, or none with a weight
  "bad-backend", // 500: its share is for something that does not exist
  "no-endpoint", // 503: nobody answers for its backend
  "overflow", //    503: as many requests as may be are under way to its backend already, or as many connections open
  "injected", //    its rule's fault: the status that it says, or a reset
  "too-long", //    414: what its rule would write is longer than an answer to the engine may be
  "no-service", //  503: the Service has gone, or its port has
  "policy", //      403, 400, 429: both pods are of this node, and the destination's policy refuses it
] as const;
export type RouteAnswer = (typeof routeAnswers)[number];

/** What becomes of a request whose try has failed. A closed list. */
export type AfterTry =
  | "elsewhere" // another endpoint has it: nobody has processed anything of it
  | "again" //     by the rule's `retry`, behind a pause
  | "budget" //    passed on: the rule's retries are too many already
  | "spent" //     passed on: it was tried as often as it may be
  | "final"; //    passed on: nothing says that it may be tried again

/** A request that is open: what an operator may see of it. */
export type RequestUnderWay = {
  readonly method: string;
  readonly path: string /** Wall clock. */;
  readonly sinceMs: number;
};

/** What of HTTP is seen on a connection: "tcp": it is not read. "opaque": it was to be read, and is no HTTP. */
export type SeenHttp = {
  readonly protocol: "tcp" | "http/1.1" | "http/2" | "websocket" | "opaque";
  /** Begun so far. */
  readonly requests: number;
  readonly open: RequestUnderWay | null;
};

/** `reason` is of the engine's closed list (native/engine/http/http1_refusal.h). */
export type HttpRefusal = { readonly message: "request" | "response"; readonly reason: string };
