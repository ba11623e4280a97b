// 18 · any thread · an endpoint that fails again and again is left out for a while; then a single request finds out whether it serves. Pure.
import type { OutlierDetection } from "../mesh/traffic-policy.ts";

/** Why an endpoint was left out. A closed list. */
export const ejectionReasons = ["consecutive-5xx", "consecutive-gateway", "probe-failed", "success-rate"] as const;
export type EjectionReason = (typeof ejectionReasons)[number];

/** "in": it is used. "probed": a request is under way that finds out whether it serves; nobody else goes there. */
export type EjectionPhase = "in" | "probed" | EjectionReason;

/** What all threads know of an endpoint, as the requests of one caller's identity by one rule have met it. */
export type EjectionState = {
  readonly phase: EjectionPhase;
  /** In a row, while it is in. */
  readonly failures: number;
  readonly gatewayFailures: number;
  /** How often it was left out in a row. */
  readonly times: number;
  /**
   * Milliseconds of a clock that all threads share. "in": when it last failed or came back. Left out: until when. "probed": until when the
   * request has it, should nobody say how that ended.
   */
  readonly atMs: number;
};

/** An endpoint that is left out, for an operator. `leftMs` ≤ 0: the next request finds out whether it serves. */
export type EjectedEndpoint = {
  /** Empty: for all callers, since nobody reaches it. */
  readonly caller: string;
  readonly service: string;
  readonly rule: string;
  readonly address: string;
  readonly port: number;
  readonly reason: EjectionReason | "probed";
  readonly times: number;
  readonly leftMs: number;
};

/** What a request has shown of its endpoint. "failed": a status from 500 on; "gateway": 502, 503, 504, or no response. */
export type TryShows = "served" | "failed" | "gateway";

export const blank: EjectionState = Object.freeze({
  phase: "in",
  failures: 0,
  gatewayFailures: 0,
  times: 0,
  atMs: 0,
});

/** What is older says nothing: the endpoint counts as never seen. */
export const FORGOTTEN_MS = 600_000;
/** An endpoint is left out for so long at most, unless its rule's first time is longer (Envoy's max_ejection_time). */
const LONGEST_MS = 300_000;
/** Until so long after its begin nobody else probes: longer than a request without an end is likely to take. */
export const PROBE_MS = 30_000;
/** What a state has room for. */
export const MOST_FAILURES = 255;
const MOST_TIMES = 31;

export const isOut = ({ phase }: EjectionState): boolean => phase !== "in";

/** It is left out, its time is over, and nobody is finding out whether it serves. */
export const isDue = (state: EjectionState, nowMs: number): boolean => isOut(state) && nowMs >= state.atMs;

/** For how long an endpoint is left out the n-th time: n × `baseEjectionTime`, as in Envoy, five minutes at most unless the base is longer. */
export function durationMs(times: number, { baseMs }: OutlierDetection): number {
  return Math.min(baseMs * times, Math.max(LONGEST_MS, baseMs));
}

/** A request that is no probe has ended. The same object: nothing changes. */
export function afterRequest(
  state: EjectionState,
  shown: TryShows,
  policy: OutlierDetection,
  nowMs: number,
): EjectionState {
  // Requests from before it was left out come back for a while. They say nothing new.
  if (isOut(state)) return state;
  if (shown === "served") {
    return state.failures === 0 && state.gatewayFailures === 0 ? state : { ...state, failures: 0, gatewayFailures: 0 };
  }
  const failures = Math.min(state.failures + 1, MOST_FAILURES);
  const gatewayFailures = shown === "gateway" ? Math.min(state.gatewayFailures + 1, MOST_FAILURES) : 0;
  const { consecutive5xx, consecutiveGateway } = policy;
  const times = forgiven(state, policy, nowMs);
  if (consecutive5xx > 0 && failures >= consecutive5xx) return leftOut("consecutive-5xx", times, policy, nowMs);
  if (consecutiveGateway > 0 && gatewayFailures >= consecutiveGateway)
    return leftOut("consecutive-gateway", times, policy, nowMs);
  return { phase: "in", failures, gatewayFailures, times, atMs: nowMs };
}

/** Of an interval it has served too little. */
export function afterInterval(state: EjectionState, policy: OutlierDetection, nowMs: number): EjectionState {
  return isOut(state) ? state : leftOut("success-rate", forgiven(state, policy, nowMs), policy, nowMs);
}

/** How often it was left out in a row: each span of the first length in which it did not fail takes back a time. */
function forgiven({ times, atMs }: EjectionState, { baseMs }: OutlierDetection, nowMs: number): number {
  return times === 0 ? 0 : Math.max(0, times - Math.floor(Math.max(0, nowMs - atMs) / baseMs));
}

function leftOut(phase: EjectionReason, before: number, policy: OutlierDetection, nowMs: number): EjectionState {
  const times = Math.min(before + 1, MOST_TIMES);
  return {
    phase,
    failures: 0,
    gatewayFailures: 0,
    times,
    atMs: nowMs + durationMs(times, policy),
  };
}

/** A request begins that finds out whether the endpoint serves. Only of an endpoint that is due. */
export function probing(state: EjectionState, nowMs: number): EjectionState {
  return { ...state, phase: "probed", atMs: nowMs + PROBE_MS };
}

/** That request has ended; null: it has shown nothing, and the next finds out. */
export function afterProbe(
  state: EjectionState,
  shown: TryShows | null,
  policy: OutlierDetection,
  nowMs: number,
): EjectionState {
  if (shown === null) return { ...state, phase: "probe-failed", atMs: nowMs };
  if (shown === "served") return { ...blank, times: state.times, atMs: nowMs };
  return leftOut("probe-failed", state.times, policy, nowMs);
}

/** Endpoints that may be left out at once, of `count`: one at least, unless that would be all. */
export function mostOut(count: number, { maxEjected }: OutlierDetection): number {
  if (maxEjected === 0) return 0;
  return Math.max(Math.floor((count * maxEjected) / 100), count > 1 ? 1 : 0);
}

/** `probe`: the endpoint that a request is to try; then nothing else is asked. */
export type InUse<T> = {
  readonly used: readonly T[];
  readonly probe: T | null;
  readonly isPanic: boolean;
};

/**
 * Which endpoints a request may go to. Of those that have failed, the first stay out, as many as may; where fewer than `minHealthy` percent
 * are left, all are used. Each thread computes the same of the same states: nothing is counted that could be lost.
 */
export function inUse<T>(
  endpoints: readonly T[],
  stateOf: (endpoint: T) => EjectionState,
  policy: OutlierDetection,
  nowMs: number,
  mayProbe: (endpoint: T) => boolean = () => true,
): InUse<T> {
  const out: {
    readonly endpoint: T;
    readonly state: EjectionState;
    readonly sinceMs: number;
  }[] = [];
  for (const endpoint of endpoints) {
    const state = stateOf(endpoint);
    if (!isOut(state)) continue;
    // Who is probed keeps the place that it had.
    const sinceMs = state.phase === "probed" ? -1 : state.atMs - durationMs(state.times, policy);
    out.push({ endpoint, state, sinceMs });
  }
  if (out.length === 0) return { used: endpoints, probe: null, isPanic: false };
  const stay = out.toSorted((a, b) => a.sinceMs - b.sinceMs).slice(0, mostOut(endpoints.length, policy));
  const due = stay.find(({ state, endpoint }) => isDue(state, nowMs) && mayProbe(endpoint));
  if (due !== undefined) return { used: [due.endpoint], probe: due.endpoint, isPanic: false };
  if ((endpoints.length - out.length) * 100 < policy.minHealthy * endpoints.length)
    return { used: endpoints, probe: null, isPanic: true };
  const left = new Set(stay.map(({ endpoint }) => endpoint));
  return {
    used: endpoints.filter((endpoint) => !left.has(endpoint)),
    probe: null,
    isPanic: false,
  };
}
