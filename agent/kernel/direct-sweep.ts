// main thread · addresses have joined the mesh: connections that went direct to them before are ended by the keeper, in each pod
// that may have one open. They get a second in which a call that is under way can end by itself.
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "../observe/log.ts";

export type DirectSweepOptions = {
  /** Pods that may have a direct connection open to any of these addresses; null: to any. */
  readonly podsTo: (addresses: readonly string[] | null) => readonly number[];
  /** Ends what is no longer allowed in that pod. Rejects when it could not be done. */
  readonly sever: (podIdx: number) => Promise<void>;
  readonly log: Pick<Logger, "warn">;
  readonly retryMs?: number;
  /** Default 1,000. */
  readonly graceMs?: number;
};

const RETRY_MS = 500;
/**
 * What began while its destination was outside is no call around the mesh. A destination that refuses plaintext ends it at once by itself:
 * that is policy, and its own node's to enforce.
 */
const GRACE_MS = 1_000;

export class DirectSweep {
  readonly #options: DirectSweepOptions;
  /** What has joined since the sweep that runs began; null: anything may have. */
  #joined: string[] | null = [];
  /** Pods that opened a connection to what had joined by then. */
  readonly #late = new Set<number>();
  #running = false;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: DirectSweepOptions) {
    this.#options = options;
  }

  /** The keeper lent its maps: what joined while there was no keeper, or no agent, is looked for as well. */
  opened(): void {
    void this.sweep(null);
  }

  /**
   * After out_by_dst was written. Calls during a sweep make one more sweep.
   * @param addresses that may be new to the table; null: any
   */
  async sweep(addresses: readonly string[] | null): Promise<void> {
    if (addresses !== null && addresses.length > 0) await this.#grace();
    if (addresses === null || this.#joined === null) this.#joined = null;
    else this.#joined.push(...addresses);
    await this.#run();
  }

  /** A connection of the pod was let go direct before the table was written, and has opened since. */
  async sweepPod(podIdx: number): Promise<void> {
    await this.#grace();
    this.#late.add(podIdx);
    await this.#run();
  }

  async #grace(): Promise<void> {
    const graceMs = this.#options.graceMs ?? GRACE_MS;
    if (graceMs > 0) await sleep(graceMs, undefined, { ref: false });
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    clearTimeout(this.#retry);
    while (!this.#closed && (this.#joined === null || this.#joined.length > 0 || this.#late.size > 0)) {
      const pods = new Set([...this.#options.podsTo(this.#joined), ...this.#late]);
      this.#joined = [];
      this.#late.clear();
      const results = await Promise.allSettled([...pods].map((podIdx) => this.#options.sever(podIdx)));
      const failed = results.filter(({ status }) => status === "rejected").length;
      if (failed > 0 && !this.#closed) this.#tryAgain(failed);
    }
    this.#running = false;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
  }

  /** Rows of a pod that has gone are removed by the keeper, so a sweep that fails for it ends. */
  #tryAgain(pods: number): void {
    this.#options.log.warn("direct connections to what joined the mesh could not be ended yet", { pods });
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.sweep(null), this.#options.retryMs ?? RETRY_MS).unref();
  }
}
