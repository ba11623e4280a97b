// keeper · reads the agent's heartbeat as the kernel does, says when it is late and when it is back, and counts.
// It decides nothing: every hook compares the same two numbers by itself.
import type { KeeperLog } from "./lend.ts";

export type Beat = { readonly beatNs: bigint; readonly limitNs: bigint };

export type WatchdogOptions = {
  readonly readGate: () => Beat;
  readonly log: KeeperLog;
  /** Nanoseconds of CLOCK_MONOTONIC. */
  readonly now?: () => bigint;
};

export class Watchdog {
  readonly #readGate: () => Beat;
  readonly #log: KeeperLog;
  readonly #now: () => bigint;
  /** Before the first agent came there is nothing to be late. */
  #state: "none" | "alive" | "late" = "none";
  #lateCount = 0;
  #lateSinceNs = 0n;

  constructor({ readGate, log, now = process.hrtime.bigint }: WatchdogOptions) {
    this.#readGate = readGate;
    this.#log = log;
    this.#now = now;
  }

  /** How often the agent fell silent since the keeper started. */
  get lateCount(): number {
    return this.#lateCount;
  }

  get state(): "none" | "alive" | "late" {
    return this.#state;
  }

  /** One look; called by a timer. */
  look(): void {
    const { beatNs, limitNs } = this.#readGate();
    if (beatNs === 0n && this.#state === "none") return;
    const now = this.#now();
    const late = now - beatNs > limitNs;
    if (late && this.#state !== "late") {
      this.#state = "late";
      this.#lateCount++;
      this.#lateSinceNs = now;
      const limitMs = Number(limitNs / 1_000_000n);
      this.#log.warn("the agent's heartbeat is late: each destination's fail mode decides", { limitMs });
    } else if (!late && this.#state !== "alive") {
      const wasLate = this.#state === "late";
      this.#state = "alive";
      const afterMs = wasLate ? Number((now - this.#lateSinceNs) / 1_000_000n) : 0;
      this.#log.info(wasLate ? "the agent is back" : "the agent is alive", wasLate ? { afterMs } : {});
    }
  }
}
