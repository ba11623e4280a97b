// 8 · any thread · what an endpoint costs a request: its latency, times what waits there, and more if it fails. Pure.

/** What a caller's requests have seen of an endpoint. */
export type Estimate = {
  /** Of its responses' heads, at `atMs`. */
  readonly latencyMs: number;
  /** From 0, all fail, to 1. */
  readonly success: number;
  readonly atMs: number;
};

/**
 * One request's end. `isFailed`: it counts as no answer; null: nobody knows, since its caller left before.
 * @param elapsedMs from the beginning of its try to the head of its response, or to its end without a response
 */
export type RequestSample = { readonly elapsedMs: number; readonly isFailed: boolean | null };

/** An estimate has lost two thirds of what it says after so long: what was slow, or has failed, is tried again now and then. */
const DECAY_MS = 10_000;
/** Of an endpoint that nobody has seen: it is tried soon, and not by everybody at once, since what waits counts. */
const UNSEEN_MS = 0.5;
/** How much of what is known each request's success changes. */
const WEIGHT = 0.4;
/** Of an endpoint that does nothing but fail. Failures are fast, and a thread with few requests would soon try it again for that. */
const FAILED_MS = 100;
/** A failing endpoint costs at most the cube of this more. */
const MOST_FAILING = 20;

export const unseen = (nowMs: number): Estimate => ({ latencyMs: UNSEEN_MS, success: 1, atMs: nowMs });

/** With `pending` requests that have no response yet. */
export function costOf(estimate: Estimate, pending: number, nowMs: number): number {
  const { latencyMs, success } = decayed(estimate, nowMs);
  return (latencyMs + FAILED_MS * (1 - success) ** 2) * (pending + 1) * failingOf(estimate, nowMs);
}

/** How many times more an endpoint costs because it fails: from 1. */
export function failingOf(estimate: Estimate, nowMs: number): number {
  return Math.min(1 / decayed(estimate, nowMs).success, MOST_FAILING) ** 3;
}

/** A longer latency counts at once, a shorter slowly. A failure is no latency, unless it took longer. */
export function observed(estimate: Estimate, { elapsedMs, isFailed }: RequestSample, nowMs: number): Estimate {
  const kept = Math.exp(-Math.max(0, nowMs - estimate.atMs) / DECAY_MS);
  const before = estimate.latencyMs;
  const mean = isFailed === false ? kept * before + (1 - kept) * elapsedMs : kept * before;
  const latencyMs = Math.max(UNSEEN_MS / 10, elapsedMs > before ? elapsedMs : mean);
  const recovered = 1 - (1 - estimate.success) * kept;
  const success = isFailed === null ? recovered : recovered * (1 - WEIGHT) + (isFailed ? 0 : WEIGHT);
  return { latencyMs, success, atMs: nowMs };
}

function decayed({ latencyMs, success, atMs }: Estimate, nowMs: number): Estimate {
  const kept = Math.exp(-Math.max(0, nowMs - atMs) / DECAY_MS);
  return { latencyMs: latencyMs * kept, success: 1 - (1 - success) * kept, atMs: nowMs };
}
