// any thread · what all data threads of an agent share about requests at the caller's end: memory, and nothing that a thread could hold.
import { EjectionCells } from "./ejection-cells.ts";
import { RateCells } from "./rate-cells.ts";
import { RetryCells } from "./retry-cells.ts";
import { UnderWayCells } from "./under-way-cells.ts";

export type SharedState = {
  /** Endpoints that fail. */
  readonly ejections: SharedArrayBuffer;
  /** Requests of an interval, for success rates. */
  readonly rates: SharedArrayBuffer;
  /** Requests under way, for caps. */
  readonly underWay: SharedArrayBuffer;
  /** Connections that are open, for caps. */
  readonly connections: SharedArrayBuffer;
  /** Requests and retries, for budgets. */
  readonly retries: SharedArrayBuffer;
};

export function newSharedState(threads: number): SharedState {
  return {
    ejections: EjectionCells.buffer(),
    rates: RateCells.buffer(),
    underWay: UnderWayCells.buffer(threads),
    connections: UnderWayCells.buffer(threads, "awaited"),
    retries: RetryCells.buffer(),
  };
}
