// 18 · any thread · what is to go wrong with a request, by its rule's fault. Pure.
import type { HttpFault } from "../mesh/http-fault.ts";

export type DrawnFault =
  | { readonly kind: "delay"; readonly ms: number }
  | { readonly kind: "abort"; readonly status: number }
  | { readonly kind: "reset" };

/**
 * @param isDelayed whether the request has been delayed by it already
 * @param clock `wallMs` in milliseconds since 1970; absent: nothing goes wrong. `random` uniform in [0, 1)
 * @returns null: nothing.
 */
export function drawnFault(
  fault: HttpFault,
  isDelayed: boolean,
  { wallMs, random }: { readonly wallMs?: () => number; readonly random: () => number },
): DrawnFault | null {
  if (wallMs === undefined || wallMs() >= fault.expiresMs) return null;
  const { delay, abort, reset } = fault;
  if (!isDelayed && delay !== null && isHit(delay.percent, random)) return { kind: "delay", ms: delay.fixed };
  if (abort !== null && isHit(abort.percent, random)) return { kind: "abort", status: abort.status };
  if (reset !== null && isHit(reset.percent, random)) return { kind: "reset" };
  return null;
}

const isHit = (percent: number, random: () => number): boolean => random() * 100 < percent;
