// keeper · lines of the log about what it refuses agents: a crowd of pods that begin is asked for each second, and each answer was a line.
import type { EnrollmentRefusal } from "./enrollment-states.ts";
import type { KeeperLog } from "./lend.ts";

/** Of each reason there is a line in this time. */
const EVERY_MS = 10_000;

export class RefusalLines {
  readonly #log: KeeperLog;
  readonly #now: () => number;
  readonly #said = new Map<EnrollmentRefusal["refused"], { atMs: number; unsaid: number }>();

  constructor(log: KeeperLog, now: () => number) {
    this.#log = log;
    this.#now = now;
  }

  /** The first of a reason is written at once; later ones are counted, and the next line says how many they were. */
  add({ refused, message }: EnrollmentRefusal): void {
    const now = this.#now();
    const last = this.#said.get(refused);
    if (last !== undefined && now - last.atMs < EVERY_MS) {
      last.unsaid += 1;
      return;
    }
    this.#said.set(refused, { atMs: now, unsaid: 0 });
    this.#log.warn("refused", { reason: refused, message, ...(last?.unsaid ? { alsoRefused: last.unsaid } : {}) });
  }
}
