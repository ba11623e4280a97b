// 9 · any thread · what the evaluator known of a caller and a port, for as long as the policies stand: asked again, it answers
// out of a few words of memory instead of walking the rules, which with many policies in the mesh are in no cache. Pure but for
// its memory.
import type { Decision } from "./decision.ts";

/** Callers remembered of one set of policies; then it begins anew. */
const MOST_CALLERS = 256;
/** Ports remembered of one caller. */
const MOST_PORTS = 8;

type KnownVerdict = { readonly port: number; readonly decision: Decision; readonly next: KnownVerdict | null };

export class VerdictMemo {
  readonly #byCaller = new Map<string, KnownVerdict>();

  /** @param caller its SPIFFE ID; empty: plaintext. */
  of(caller: string, port: number): Decision | undefined {
    let known = this.#byCaller.get(caller) ?? null;
    while (known !== null) {
      if (known.port === port) return known.decision;
      known = known.next;
    }
    return undefined;
  }

  keep(caller: string, port: number, decision: Decision): void {
    if (this.#byCaller.size >= MOST_CALLERS) this.#byCaller.clear();
    const known = this.#byCaller.get(caller) ?? null;
    let length = 0;
    for (let verdict = known; verdict !== null; verdict = verdict.next) length += 1;
    this.#byCaller.set(caller, { port, decision, next: length < MOST_PORTS ? known : null });
  }
}
