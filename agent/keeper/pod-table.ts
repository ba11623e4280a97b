// keeper · the enrolled pods by their index, which the kernel's maps know, too. Deals out indices.
import { type Enrollment, emptyRow } from "./enrollment-states.ts";
import type { LastIndex } from "./last-index.ts";
import type { PodRef } from "./protocol.ts";
import { MAX_PODS } from "./requests.ts";

export class PodTable {
  readonly #byIdx = new Map<number, Enrollment>();
  readonly #idxByUid = new Map<string, number>();
  readonly #last: LastIndex;
  readonly #isLastKnown: boolean;
  /** Called with each index before a pod has it: an agent may have written about the pod before it, late. */
  readonly #clear: (podIdx: number) => void;
  #lastIdx: number;

  constructor(last: LastIndex, clear: (podIdx: number) => void) {
    this.#last = last;
    this.#clear = clear;
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

  /** What an earlier keeper left. If it did not say which index it gave last, these rest too. */
  adopt(found: Enrollment): void {
    this.set(found);
    if (!this.#isLastKnown) this.#lastIdx = Math.max(this.#lastIdx, found.row.podIdx);
  }

  delete(podIdx: number): void {
    const uid = this.#byIdx.get(podIdx)?.row.uid;
    this.#byIdx.delete(podIdx);
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
      this.#clear(podIdx);
      this.#lastIdx = podIdx;
      this.#last.write(podIdx);
    }
    return podIdx;
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
