// main thread · every 100 ms from this loop's own timer, if every data thread moved too: a hung loop stops beating.
// The kernel compares with its own clock: process.hrtime is CLOCK_MONOTONIC, as bpf_ktime_get_ns is.
import type { Gate } from "./maps.ts";

export type HeartbeatOptions = {
  readonly gate: Pick<Gate, "beat">;
  /** One slot per data thread; each counts its own loop's turns. Empty: there is none, and main beats for itself. */
  readonly ticks: Int32Array;
  /** A thread whose tick did not move for this long is hung. */
  readonly stalledAfterMs: number;
  readonly everyMs?: number;
  /** Nanoseconds of CLOCK_MONOTONIC. */
  readonly now?: () => bigint;
  /** Called when a thread hangs, and when it moves again: with the threads that hang then. */
  readonly onStalled?: (threads: readonly number[]) => void;
};

const BEAT_EVERY_MS = 100;

export class Heartbeat {
  readonly #options: HeartbeatOptions & { readonly now: () => bigint };
  readonly #seen: { tick: number; atNs: bigint }[];
  #timer: NodeJS.Timeout | undefined;
  #stalled: readonly number[] = [];
  #turnedNs: bigint | undefined;

  constructor(options: HeartbeatOptions) {
    this.#options = { ...options, now: options.now ?? process.hrtime.bigint };
    const now = this.#options.now();
    this.#seen = Array.from(options.ticks, (tick) => ({ tick, atNs: now }));
  }

  /** Beats at once, then on its timer. */
  start(): void {
    this.turn();
    this.#timer = setInterval(() => this.turn(), this.#options.everyMs ?? BEAT_EVERY_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Threads that do not move; empty while all is well. */
  get stalled(): readonly number[] {
    return this.#stalled;
  }

  /**
   * One turn: looks at every thread, beats unless one hangs. True: it beat. The turn after a pause of this loop itself does not beat: the
   * keeper may have given the node to another agent meanwhile, which this loop reads before its next turn, and a beat vouches for tables.
   */
  turn(): boolean {
    const { gate, ticks, stalledAfterMs, now, onStalled } = this.#options;
    const at = now();
    const limitNs = BigInt(stalledAfterMs) * 1_000_000n;
    const stalled: number[] = [];
    this.#seen.forEach((seen, thread) => {
      const tick = Atomics.load(ticks, thread);
      if (tick !== seen.tick) {
        seen.tick = tick;
        seen.atNs = at;
      } else if (at - seen.atNs > limitNs) stalled.push(thread);
    });
    if (stalled.length !== this.#stalled.length) onStalled?.(stalled);
    this.#stalled = stalled;
    const pausedNs = at - (this.#turnedNs ?? at);
    this.#turnedNs = at;
    if (stalled.length > 0 || pausedNs > limitNs) return false;
    gate.beat(at);
    return true;
  }
}

/** How old the kernel's last beat is; null: there was none, or no keeper has lent the gate. */
export function heartbeatAgeMs(
  gate: Pick<Gate, "read"> | null,
  now: () => bigint = process.hrtime.bigint,
): number | null {
  const beatNs = gate?.read().beatNs ?? 0n;
  return beatNs === 0n ? null : Number(now() - beatNs) / 1e6;
}
