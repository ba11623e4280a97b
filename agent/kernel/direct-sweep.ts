// main thread · addresses have joined the mesh: connections that went direct to them before are ended by the keeper, in each pod
// that has direct connections open according to the kernel's sums.
import type { Logger } from "../observe/log.ts";
import type { TrafficRow } from "./traffic-sums.ts";

export type DirectSweepOptions = {
  readonly rows: () => readonly TrafficRow[];
  /** Ends what is no longer allowed in that pod. Rejects when it could not be done. */
  readonly sever: (podIdx: number) => Promise<void>;
  readonly log: Pick<Logger, "warn">;
  readonly retryMs?: number;
};

const RETRY_MS = 500;

export class DirectSweep {
  readonly #options: DirectSweepOptions;
  #running = false;
  #again = false;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: DirectSweepOptions) {
    this.#options = options;
  }

  /** The keeper lent its maps: what joined while there was no keeper, or no agent, is looked for as well. */
  opened(): void {
    void this.sweep();
  }

  /** After out_by_dst was written. Calls during a sweep make one more sweep. */
  async sweep(): Promise<void> {
    this.#again = true;
    if (this.#running) return;
    this.#running = true;
    clearTimeout(this.#retry);
    while (this.#again && !this.#closed) {
      this.#again = false;
      const results = await Promise.allSettled(this.#pods().map((podIdx) => this.#options.sever(podIdx)));
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
    this.#retry = setTimeout(() => void this.sweep(), this.#options.retryMs ?? RETRY_MS).unref();
  }

  #pods(): number[] {
    const open = this.#options
      .rows()
      .filter((row) => row.way === "direct" && row.direction === "out" && row.opened > row.closed);
    return [...new Set(open.map(({ podIdx }) => podIdx))];
  }
}
