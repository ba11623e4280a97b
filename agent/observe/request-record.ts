// 19 · any thread · one request on a connection that was read: what was asked, what was decided, what was answered.
import type { DecisionSummary } from "./decision-summary.ts";
import type { ConnectionRecord } from "./record.ts";

export type RequestRecord = {
  readonly connection: ConnectionRecord;
  /** Empty, with path and host: the head was refused before anybody could say what it asks for. */
  readonly method: string;
  /** Without its query, which may hold what no log should. */
  readonly path: string;
  readonly host: string;
  /** null: nobody was asked. */
  readonly decision: DecisionSummary | null;
  /** 0: no response. */
  readonly status: number;
  /** The engine's word for its end (native/engine/core/events.h, RequestOutcome). */
  readonly outcome: string;
  /** Why its HTTP/1 was refused, by the engine's number; 0: it was not. */
  readonly refusal: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly durationUs: number;
};
