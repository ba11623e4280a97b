// main thread · what is read after an outage waits for what may protect it: each kind comes back by itself, and new pods without the new
// policies that were made with them would be open. Pure but for its state and the clock that it is given.
import type { PackedChange } from "./copy-file.ts";

export type HeldChangesPorts = {
  readonly pass: (changes: readonly PackedChange[]) => void;
  /** Rejects when the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
};

/** Who is in the mesh, and who may call. Changes of these never wait. */
const protecting: ReadonlySet<string> = new Set(["Namespace", "PeerAuthentication", "AuthorizationPolicy"]);
/** A kind that stays away for longer must not keep pods out of the mesh, ms. */
const HOLD_MS = 5_000;
/** A watch that goes on where it was cut has so long to bring what it missed, ms. */
const SETTLE_MS = 500;

/** `isOver`: others have waited long enough. `ending`: the kind is read again, and what it missed may still be on its way. */
type Gap = { isOver: boolean; ending: AbortController | undefined };

export class HeldChanges {
  readonly #ports: HeldChangesPorts;
  /** Of protecting kinds alone. */
  readonly #gaps = new Map<string, Gap>();
  #held: PackedChange[] = [];
  #waiting: AbortController | undefined;

  constructor(ports: HeldChangesPorts) {
    this.#ports = ports;
  }

  take(kind: string, changes: readonly PackedChange[]): void {
    if (protecting.has(kind) || (this.#held.length === 0 && !this.#isGap())) {
      this.#ports.pass(changes);
      return;
    }
    for (const change of changes) this.#held.push(change);
    if (this.#waiting === undefined && this.#held.length > 0) void this.#wait();
  }

  /** The kind cannot be read. */
  gapBegins(kind: string): void {
    if (!protecting.has(kind)) return;
    const gap = this.#gaps.get(kind);
    gap?.ending?.abort();
    if (gap === undefined) this.#gaps.set(kind, { isOver: false, ending: undefined });
    else gap.ending = undefined;
  }

  /** The kind is read again. */
  gapEnds(kind: string): void {
    const gap = this.#gaps.get(kind);
    if (gap !== undefined && gap.ending === undefined) void this.#settle(kind, gap);
  }

  /** What is held is dropped. */
  close(): void {
    this.#held = [];
    this.#waiting?.abort();
    for (const { ending } of this.#gaps.values()) ending?.abort();
  }

  #isGap(): boolean {
    return [...this.#gaps.values()].some(({ isOver }) => !isOver);
  }

  async #settle(kind: string, gap: Gap): Promise<void> {
    const ending = new AbortController();
    gap.ending = ending;
    await this.#ports.sleep(SETTLE_MS, ending.signal).catch(() => undefined);
    if (ending.signal.aborted) return;
    this.#gaps.delete(kind);
    if (!this.#isGap()) this.#release();
  }

  async #wait(): Promise<void> {
    const waiting = new AbortController();
    this.#waiting = waiting;
    await this.#ports.sleep(HOLD_MS, waiting.signal).catch(() => undefined);
    if (waiting.signal.aborted) return;
    for (const gap of this.#gaps.values()) gap.isOver = true;
    this.#release();
  }

  #release(): void {
    this.#waiting?.abort();
    this.#waiting = undefined;
    const held = this.#held;
    this.#held = [];
    if (held.length > 0) this.#ports.pass(held);
  }
}
