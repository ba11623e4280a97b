// keeper · lines of the log about what it refuses: a crowd of pods that begin is asked for each second, a process that is turned away may
// come again at once, and each time was a line.

/** Of each reason there is a line in this time. */
const EVERY_MS = 10_000;
/** More are not kept apart: a line for each is then written again. */
const MAX_KEYS = 1_000;

type Warns = { warn(message: string, fields: Readonly<Record<string, unknown>>): void };
export type RefusalLine = { readonly key: string; readonly fields: Readonly<Record<string, unknown>> };

export class RefusalLines {
  readonly #message: string;
  readonly #log: Warns;
  readonly #now: () => number;
  readonly #said = new Map<string, { atMs: number; unsaid: number }>();

  /** @param now milliseconds */
  constructor(message: string, log: Warns, now: () => number) {
    this.#message = message;
    this.#log = log;
    this.#now = now;
  }

  /** The first of a key is written at once; later ones are counted, and the next line says how many they were. */
  add({ key, fields }: RefusalLine): void {
    const now = this.#now();
    const last = this.#said.get(key);
    if (last !== undefined && now - last.atMs < EVERY_MS) {
      last.unsaid += 1;
      return;
    }
    if (this.#said.size >= MAX_KEYS) this.#said.clear();
    this.#said.set(key, { atMs: now, unsaid: 0 });
    this.#log.warn(this.#message, { ...fields, ...(last?.unsaid ? { alsoRefused: last.unsaid } : {}) });
  }
}
