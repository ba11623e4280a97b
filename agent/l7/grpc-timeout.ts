// 18 · any thread · the deadline that a call of gRPC brings (grpc:doc/PROTOCOL-HTTP2.md, Timeout). Pure.

const unitsMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };
/** What an answer to the engine can say. */
const LONGEST_MS = 2 ** 31 - 1;

/**
 * Milliseconds, 1 at least, since the caller's own clock has begun before; 0: it says none, or nothing that can be read.
 * @param text of the field grpc-timeout: eight digits at most, and a unit
 */
export function grpcTimeoutMs(text: string): number {
  const [, digits = "", unit = ""] = /^([0-9]{1,8})([HMSmun])$/.exec(text) ?? [];
  if (digits === "") return 0;
  return Math.min(LONGEST_MS, Math.max(1, Math.ceil(Number(digits) * (unitsMs[unit] ?? 0))));
}

/** The sooner of two deadlines, of which 0 is none. */
export function soonerOf(oneMs: number, otherMs: number): number {
  return oneMs === 0 || otherMs === 0 ? oneMs + otherMs : Math.min(oneMs, otherMs);
}
