// 9 · any thread · what the evaluator knew of a caller and a port, until a policy changes: asked again, it answers
// out of a few words of memory instead of walking the rules, which with many policies in the mesh are in no cache. Pure but for
// its memory.
import type { Decision, Settled } from "./decision.ts";

/** Callers remembered of one set of policies; then it begins anew. */
const MOST_CALLERS = 256;
/** Ports remembered of one caller. */
const MOST_PORTS = 8;

/** Of one caller and one port. */
export type KnownVerdict = {
  readonly port: number;
  /** In the strict reading. */
  readonly decision: Decision;
  /** null: nobody has asked. */
  settled: Settled | null;
  readonly next: KnownVerdict | null;
};

export class VerdictMemo {
  readonly #byCaller = new Map<string, KnownVerdict>();

  /** @param caller its SPIFFE ID; empty: plaintext. */
  of(caller: string, port: number): KnownVerdict | undefined {
    let known = this.#byCaller.get(caller) ?? null;
    while (known !== null) {
      if (known.port === port) return known;
      known = known.next;
    }
    return undefined;
  }

  keep(caller: string, port: number, decision: Decision): KnownVerdict {
    if (this.#byCaller.size >= MOST_CALLERS) this.#byCaller.clear();
    const known = this.#byCaller.get(caller) ?? null;
    let length = 0;
    for (let verdict = known; verdict !== null; verdict = verdict.next) length += 1;
    const kept: KnownVerdict = { port, decision, settled: null, next: length < MOST_PORTS ? known : null };
    this.#byCaller.set(caller, kept);
    return kept;
  }
}
