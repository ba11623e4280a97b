// main thread · the page of metrics, made once for scrapes that come together, and in few copies however slowly it is read: it has megabytes, and
// each host that can reach the port may ask for it and read a byte now and then.

/** A page is made at most this often, however many ask. */
const AGE_MS = 500;
/** The same while callers are still reading older pages. */
const HELD_AGE_MS = 5_000;
/** So many pages may be with callers before the next is shared for longer. */
const MOST_HELD = 2;

export type SharedBytes = { readonly bytes: Buffer; readonly done: () => void };

type HeldPage = { readonly atMs: number; readonly bytes: Promise<Buffer>; readers: number };

export class SharedPage {
  readonly #make: () => Promise<string>;
  readonly #now: () => number;
  #last: HeldPage | undefined;
  /** Pages that somebody reads. */
  readonly #held = new Set<HeldPage>();

  /** @param now milliseconds that only grow */
  constructor(make: () => Promise<string>, now: () => number) {
    this.#make = make;
    this.#now = now;
  }

  /** The caller says `done` when nobody needs the bytes any more. Rejects as `make` does. */
  async take(): Promise<SharedBytes> {
    const page = this.#current();
    page.readers += 1;
    this.#held.add(page);
    const done = (): void => {
      page.readers -= 1;
      if (page.readers === 0) this.#held.delete(page);
    };
    try {
      return { bytes: await page.bytes, done };
    } catch (error) {
      done();
      throw error;
    }
  }

  #current(): HeldPage {
    const atMs = this.#now();
    const mostMs = this.#held.size >= MOST_HELD ? HELD_AGE_MS : AGE_MS;
    if (this.#last === undefined || atMs - this.#last.atMs >= mostMs) {
      this.#last = { atMs, bytes: this.#make().then((text) => Buffer.from(text)), readers: 0 };
    }
    return this.#last;
  }
}
