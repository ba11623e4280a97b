// any thread · a fault that is injected into requests of a rule, so that callers can show how they bear it. Plain data.

export type HttpFault = {
  /** Milliseconds since 1970: from then on the fault has no effect. */
  readonly expiresMs: number;
  /** Each of the three has its own share of the requests, in whole percents; null: none. A request that was delayed may get another fault as well. */
  readonly delay: { readonly fixed: number /** Milliseconds. */; readonly percent: number } | null;
  /** Answered in the place of a backend. */
  readonly abort: { readonly status: number; readonly percent: number } | null;
  /** The caller's connection is reset. */
  readonly reset: { readonly percent: number } | null;
};

/** `fault until 2026-12-01T18:00:00.000Z: 10 % wait 2000 ms, 5 % answered 503, 1 % reset` */
export function faultText({ expiresMs, delay, abort, reset }: HttpFault): string {
  const parts = [
    ...(delay === null ? [] : [`${delay.percent} % wait ${delay.fixed} ms`]),
    ...(abort === null ? [] : [`${abort.percent} % answered ${abort.status}`]),
    ...(reset === null ? [] : [`${reset.percent} % reset`]),
  ];
  return `fault until ${new Date(expiresMs).toISOString()}: ${parts.join(", ")}`;
}
