// main thread · reads what the hooks saw, on a timer: events become records, counters become metrics.

import type { LentMaps } from "../engine/keeper-client.ts";
import type { NativeMap, NativeMapClass, NativeRingClass } from "../engine/native-maps.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { Workload } from "../mesh/workload.ts";
import { accessLine } from "../observe/access-log.ts";
import { LineBatch, type Lines } from "../observe/line-writer.ts";
import type { Logger } from "../observe/log.ts";
import { type OpenConnection, type RecordDeltas, Recorder } from "../observe/recorder.ts";
import type { Judge } from "../policy/evaluate.ts";
import { type KernelCounters, KernelEvents, readCounters } from "./events.ts";
import { KernelRecords } from "./kernel-records.ts";

export type KernelWatchParts = {
  readonly mesh: Snapshot;
  readonly judge: Judge;
  readonly KernelMap: NativeMapClass;
  readonly RingBuffer: NativeRingClass;
  readonly workloadOf: (podIdx: number) => Workload | undefined;
  /** Takes what the kernel counted since the last call, and the access-log lines. */
  readonly counted: (deltas: RecordDeltas, lines: Lines) => void;
  readonly log: Logger;
  readonly accessLog: boolean;
};

const LOOK_EVERY_MS = 100;
/** While much happens: the ring holds 30,000 events, half a second of 30,000 connections a second. */
const LOOK_SOON_MS = 10;
const MUCH = 500;
/** Label sets of connections that only the kernel saw. */
const LABEL_SETS = 10_000;
/** Whose numbers these are, beside the data threads'. */
export const KERNEL_THREAD = -1;

export class KernelWatch {
  readonly #parts: KernelWatchParts;
  readonly #lines = new LineBatch();
  readonly #recorder: Recorder;
  readonly #records: KernelRecords;
  #timer: NodeJS.Timeout | undefined;
  #events: KernelEvents | null = null;
  #counters: NativeMap | null = null;
  #unknown = 0;

  constructor(parts: KernelWatchParts) {
    this.#parts = parts;
    this.#recorder = new Recorder({
      thread: KERNEL_THREAD,
      labelSets: LABEL_SETS,
      now: Date.now,
      log: (record, outcome, atMs) => {
        if (parts.accessLog) this.#lines.add(accessLine(record, outcome, atMs, "text"));
      },
    });
    this.#records = new KernelRecords({
      mesh: parts.mesh,
      judge: parts.judge,
      recorder: this.#recorder,
      workloadOf: parts.workloadOf,
    });
    this.#lookIn(LOOK_EVERY_MS);
  }

  opened(maps: LentMaps): void {
    this.#events?.close();
    this.#counters?.close();
    this.#events = new KernelEvents(new this.#parts.RingBuffer(maps.events));
    this.#counters = new this.#parts.KernelMap(maps.counters);
  }

  counters(): KernelCounters | null {
    return this.#counters === null ? null : readCounters(this.#counters);
  }

  connections(limit: number): readonly OpenConnection[] {
    return this.#recorder.connections(limit);
  }

  /** What happened until now is told by the mesh as it is now: before each change of it. */
  beforeMeshChange(): void {
    this.#look();
  }

  afterMeshChange(): void {
    this.#records.rejudge();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#look();
    this.#events?.close();
    this.#counters?.close();
    this.#events = null;
    this.#counters = null;
  }

  #lookIn(ms: number): void {
    this.#timer = setTimeout(() => {
      const seen = this.#look();
      this.#lookIn(seen > MUCH ? LOOK_SOON_MS : LOOK_EVERY_MS);
    }, ms);
    this.#timer.unref();
  }

  /** How many events there were. */
  #look(): number {
    const events = this.#events;
    if (events === null) return 0;
    const list = events.drain();
    for (const event of list) this.#records.handle(event);
    if (events.unknown > this.#unknown) {
      this.#parts.log.warn("kernel events of another layout", { count: events.unknown - this.#unknown });
      this.#unknown = events.unknown;
    }
    this.#parts.counted(this.#recorder.takeDeltas(), this.#lines.take());
    return list.length;
  }
}
