// keeper · the enrolled pods by their index, which the kernel's maps know, too. Deals out indices.
import { type Enrollment, emptyRow } from "./enrollment-states.ts";
import type { LastIndex } from "./last-index.ts";
import type { PodRef } from "./protocol.ts";
import { MAX_PODS } from "./requests.ts";

/** Indices that a single walk over the maps clears: the walk is what takes the time, and pods often come many together. */
const AHEAD = 32;
/** An index is cleared ahead only if no pod has had it for so long: an agent may still write about its last pod. */
const RESTED_MS = 10_000;
/** For so long an index that was cleared ahead may be given without another walk. */
const CLEAR_MS = 1_000;

export class PodTable {
  readonly #byIdx = new Map<number, Enrollment>();
  readonly #idxByUid = new Map<string, number>();
  readonly #last: LastIndex;
  readonly #isLastKnown: boolean;
  /** Empties the maps' rows of these indices. Called before a pod gets an index: an agent may have written there after the index's last pod had left. */
  readonly #clear: (podIdxs: readonly number[]) => void;
  readonly #nowMs: () => number;
  /** When the last pod of an index left, by index. */
  readonly #leftMs = new Map<number, number>();
  #ahead: { readonly podIdxs: ReadonlySet<number>; readonly untilMs: number } = { podIdxs: new Set(), untilMs: 0 };
  #lastIdx: number;

  constructor(
    last: LastIndex,
    clear: (podIdxs: readonly number[]) => void,
    nowMs: () => number = () => performance.now(),
  ) {
    this.#last = last;
    this.#clear = clear;
    this.#nowMs = nowMs;
    this.#lastIdx = last.read();
    this.#isLastKnown = this.#lastIdx > 0;
  }

  all(): readonly Enrollment[] {
    return [...this.#byIdx.values()];
  }

  get(podIdx: number): Enrollment | undefined {
    return this.#byIdx.get(podIdx);
  }

  /** The pod under that index, if it is the pod that is meant. */
  of({ podIdx, uid }: PodRef): Enrollment | undefined {
    const found = this.#byIdx.get(podIdx);
    return found?.row.uid === uid ? found : undefined;
  }

  byUid(uid: string): Enrollment | undefined {
    const podIdx = this.#idxByUid.get(uid);
    return podIdx === undefined ? undefined : this.#byIdx.get(podIdx);
  }

  /** Another pod that is enrolled with any of the addresses. */
  holderOf(addresses: readonly string[], except: string): Enrollment | undefined {
    return this.all().find(
      ({ row }) => row.uid !== except && row.addresses.some((address) => addresses.includes(address)),
    );
  }

  /** Another pod that is enrolled in the namespace. */
  inNamespace(netnsCookie: bigint, except: string): Enrollment | undefined {
    return this.all().find(({ row }) => row.netnsCookie === netnsCookie && row.uid !== except);
  }

  set(found: Enrollment): void {
    const { podIdx, uid } = found.row;
    this.#byIdx.set(podIdx, found);
    this.#idxByUid.set(uid, podIdx);
  }

  /** A pod that an earlier keeper enrolled. If that keeper left no note of its last index, new indices come after those of its pods. */
  adopt(found: Enrollment): void {
    this.set(found);
    if (!this.#isLastKnown) this.#lastIdx = Math.max(this.#lastIdx, found.row.podIdx);
  }

  delete(podIdx: number): void {
    const uid = this.#byIdx.get(podIdx)?.row.uid;
    this.#byIdx.delete(podIdx);
    this.#leftMs.set(podIdx, this.#nowMs());
    if (uid !== undefined && this.#idxByUid.get(uid) === podIdx) this.#idxByUid.delete(uid);
  }

  clear(): void {
    this.#byIdx.clear();
    this.#idxByUid.clear();
  }

  /** Round the table, so that an index rests as long as possible before it means another pod. Undefined: none is left. */
  allot(): number | undefined {
    const [podIdx] = this.next(1);
    if (podIdx !== undefined) {
      this.#cleared(podIdx);
      this.#lastIdx = podIdx;
      this.#last.write(podIdx);
    }
    return podIdx;
  }

  #cleared(podIdx: number): void {
    const nowMs = this.#nowMs();
    const hasRested = (idx: number): boolean => nowMs - (this.#leftMs.get(idx) ?? Number.NEGATIVE_INFINITY) > RESTED_MS;
    if (nowMs < this.#ahead.untilMs && this.#ahead.podIdxs.has(podIdx) && hasRested(podIdx)) return;
    const ahead = this.next(AHEAD).filter(hasRested);
    this.#clear([...new Set([podIdx, ...ahead])]);
    this.#ahead = { podIdxs: new Set(ahead), untilMs: nowMs + CLEAR_MS };
  }

  /** The indices that are allotted next. */
  next(count: number): readonly number[] {
    const found: number[] = [];
    for (let step = 0; step < MAX_PODS && found.length < count; step++) {
      const podIdx = ((this.#lastIdx + step) % MAX_PODS) + 1;
      if (!this.#byIdx.has(podIdx)) found.push(podIdx);
    }
    return found;
  }

  /** An index for a pod that must be guarded; undefined: there is none left. */
  await(uid: string): Extract<Enrollment, { readonly state: "awaited" }> | undefined {
    const podIdx = this.allot();
    if (podIdx === undefined) return undefined;
    const awaited = { state: "awaited", row: emptyRow(podIdx, uid) } as const;
    this.set(awaited);
    return awaited;
  }
}
