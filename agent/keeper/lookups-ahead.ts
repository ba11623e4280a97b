// keeper · copies of the sk_lookup program for the pods that come next. The kernel's verifier takes milliseconds for each: loaded when a pod
// is captured they would hold up the keeper, and with it every other pod that begins.
import { closeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** Loads the copy for that index on another thread; the descriptor is the caller's. */
export type LoadLookup = (podIdx: number) => Promise<number>;

/** A pod that was captured a moment ago has its first container started just now. */
const REST_MS = 1_000;

export class LookupsAhead {
  readonly #load: LoadLookup;
  readonly #rest: () => Promise<unknown>;
  /** Descriptors by index. */
  readonly #loaded = new Map<number, number>();
  #wanted: readonly number[] = [];
  #isLoading = false;

  /** @param rest while half of what is needed is there, the next is loaded after this: pods that begin now have the processors */
  constructor(load: LoadLookup, rest = (): Promise<unknown> => sleep(REST_MS, undefined, { ref: false })) {
    this.#load = load;
    this.#rest = rest;
  }

  /** The indices that are needed next, the soonest first. What was loaded for others goes. */
  expect(podIdxs: readonly number[]): void {
    this.#wanted = podIdxs;
    for (const podIdx of this.#loaded.keys()) if (!podIdxs.includes(podIdx)) this.#close(podIdx);
    if (!this.#isLoading) void this.#loadAll();
  }

  /** The caller closes the descriptor. Undefined: it is not loaded yet. */
  take(podIdx: number): number | undefined {
    const fd = this.#loaded.get(podIdx);
    this.#loaded.delete(podIdx);
    this.#wanted = this.#wanted.filter((wanted) => wanted !== podIdx);
    return fd;
  }

  close(): void {
    this.expect([]);
  }

  async #loadAll(): Promise<void> {
    this.#isLoading = true;
    for (;;) {
      if (this.#loaded.size > 0 && this.#loaded.size >= this.#wanted.length / 2) await this.#rest();
      const podIdx = this.#wanted.find((wanted) => !this.#loaded.has(wanted));
      if (podIdx === undefined) break;
      try {
        const fd = await this.#load(podIdx);
        // It may be needed no more: then it goes at once.
        if (this.#wanted.includes(podIdx)) this.#loaded.set(podIdx, fd);
        else closeSync(fd);
      } catch {
        break; // The capture loads it, and says what is wrong. The others would fail alike.
      }
    }
    this.#isLoading = false;
  }

  #close(podIdx: number): void {
    const fd = this.take(podIdx);
    if (fd !== undefined) closeSync(fd);
  }
}
