// 7, 12 · data thread · the pods that this thread serves, by the keeper's index and by workload.

export type Pod = {
  readonly podIdx: number;
  readonly workloadUid: string;
  /** Under which it is captured; its workload may have none yet. */
  readonly addresses: readonly string[];
  /** The application can be dialled from the client's own address (marked sockets work in this pod). */
  readonly preservesSource: boolean;
};

export class Pods {
  readonly #byIdx = new Map<number, Pod>();
  readonly #byUid = new Map<string, Pod>();

  /** Adds or replaces; an index or a workload that meant another pod before means this one from now on. */
  add(pod: Pod): void {
    this.remove(pod.podIdx);
    const before = this.#byUid.get(pod.workloadUid);
    if (before !== undefined) this.#byIdx.delete(before.podIdx);
    this.#byIdx.set(pod.podIdx, pod);
    this.#byUid.set(pod.workloadUid, pod);
  }

  remove(podIdx: number): void {
    const pod = this.#byIdx.get(podIdx);
    if (pod === undefined) return;
    this.#byIdx.delete(podIdx);
    this.#byUid.delete(pod.workloadUid);
  }

  byIdx(podIdx: number): Pod | undefined {
    return this.#byIdx.get(podIdx);
  }

  byWorkload(uid: string): Pod | undefined {
    return this.#byUid.get(uid);
  }

  all(): IterableIterator<Pod> {
    return this.#byIdx.values();
  }
}
