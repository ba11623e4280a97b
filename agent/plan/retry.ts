// 18 · any thread · a try of a request has failed, and its caller has got nothing → another endpoint, a pause and another try, or what there
// is. Pure.
import { constants } from "node:os";
import type { CloseCause, RequestEnded, TryFailed } from "../engine/events.ts";
import type { HttpMatch, HttpRule, RetryRule } from "../mesh/http-rule.ts";

import type { TryShows } from "./ejection.ts";
import { shownByStatus } from "./request-outcome.ts";
import type { Route } from "./route.ts";

export type TryEnd = Pick<TryFailed, "failure" | "status" | "cause" | "isSent">;

/** Tries of a request of which no origin has got anything, in all. */
export const MOST_UNSENT_TRIES = 4;

/** Why there was no connection, where another endpoint may well be reached. What is missing at our own end is missing for all of them. */
const ofTheEndpoint: ReadonlySet<CloseCause> = new Set<CloseCause>([
  "connect-failed",
  "connect-timeout",
  "reset-by-upstream",
  "tls-failed",
  "tls-peer-rejected",
  "h2-failed",
  "protocol-error",
  "tunnel-lost",
  "tunnel-refused",
  "unanswered",
]);

/**
 * Nobody has processed anything of the request, and another endpoint may be better. A far agent that has refused by its policy (4xx) has
 * answered the caller: it is not asked elsewhere.
 */
export function mayGoElsewhere({ failure, status, cause, isSent }: TryEnd): boolean {
  if (isSent) return false;
  if (failure === "timeout") return true;
  if (failure !== "not-reached" || cause === null || !ofTheEndpoint.has(cause)) return false;
  return cause !== "tunnel-refused" || status >= 500;
}

const unreachable: ReadonlySet<number> = new Set([
  constants.errno.ECONNREFUSED,
  constants.errno.EHOSTUNREACH,
  constants.errno.ENETUNREACH,
]);

/**
 * Refused or unreachable, the same for every caller: dialled in the endpoint's own pod. In the caller's pod its own routes and filters, or a
 * policy of the network about that pod alone, refuse and reject as an endpoint does. Not a dial that took too long: who opens more connections
 * than an application accepts brings that about for others.
 */
export function nobodyProvokes({ failure, cause, status }: TryEnd, way: Route["kind"]): boolean {
  return way === "local" && failure === "not-reached" && cause === "connect-failed" && unreachable.has(status);
}

/** What the end of a try says of its endpoint. */
export const shownByTry = ({ failure, status }: TryEnd): TryShows =>
  failure === "status" ? shownByStatus(status) : "gateway";

/** RFC 9110 section 9.2.2. */
const idempotent: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"]);

/** A rule as a request has met it. */
type Met = { readonly rule: Pick<HttpRule, "retry">; readonly match: Pick<HttpMatch, "method"> };

/**
 * The rule by which the request may be sent again although it may have been processed; null: by none. Others than idempotent requests may
 * where the match that took the request names their method: who writes `retry` beside `method: POST` has said it of POST.
 */
export function retryRuleOf(met: Met | null, method: string): RetryRule | null {
  const retry = met?.rule.retry ?? null;
  if (retry === null || retry.attempts === 0) return null;
  return idempotent.has(method) || met?.match.method === method ? retry : null;
}

/** What the rule says of this end of a try: a status that it lists, or no response at all (gateway-api:geps/gep-1731). */
export function isRetried({ failure, status, cause }: TryEnd, { codes }: RetryRule): boolean {
  if (failure === "status") return codes.includes(status);
  if (failure !== "not-reached") return true;
  return cause !== null && ofTheEndpoint.has(cause) && (cause !== "tunnel-refused" || status >= 500);
}

/** As `isRetried`, of a request's end that its caller has got. Behind a response's head nothing is tried again: its status is not ours. */
export function wouldBeRetried(
  { outcome, status, notReached }: Pick<RequestEnded, "outcome" | "status" | "notReached">,
  { codes }: RetryRule,
): boolean {
  if (notReached?.cause === "overflow") return false;
  if (outcome === "answered") return codes.includes(status);
  if (outcome === "deadline") return status === 0 || status === 504;
  return (
    outcome === "not-reached" ||
    outcome === "bad-response" ||
    (outcome === "reset-by-upstream" && (status === 0 || status === 502))
  );
}

/** Doubled with each retry, up to this many times the first. */
const MOST_BACKOFFS = 10;
const LONGEST_PAUSE_MS = 60_000;

/**
 * Milliseconds before the retry of this number, from 1: never less than the rule's backoff, and up to half as much again, so that many callers
 * do not come back in step.
 * @param random uniform in [0, 1)
 */
export function pauseMs({ backoffMs }: RetryRule, nth: number, random: number): number {
  const pause = backoffMs * Math.min(2 ** (nth - 1), MOST_BACKOFFS);
  return Math.min(LONGEST_PAUSE_MS, pause * (1 + random / 2));
}

/** For an operator. */
export function retryText({ codes, attempts, backoffMs }: RetryRule, isTaken: boolean): string {
  if (attempts === 0) return "never tried again once it was sent";
  const when = codes.length === 0 ? "without a response" : `on ${codes.join(", ")} or without a response`;
  const often = attempts === 1 ? "once more" : `up to ${attempts} times more`;
  const words = `tried ${often} ${when}, after ${backoffMs} ms or longer`;
  return isTaken
    ? words
    : "not tried again once it was sent: its method may not be repeated, and the match does not name it";
}
