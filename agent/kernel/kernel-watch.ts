// main thread · reads what the hooks saw, on a timer: events become records, counters and sums become metrics.

import type { LentMaps } from "../engine/keeper-client.ts";
import type { NativeMap, NativeMapClass, NativeRingClass } from "../engine/native-maps.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { Workload } from "../mesh/workload.ts";
import { writeAccessLine } from "../observe/access-log.ts";
import { LineBatch, type Lines } from "../observe/line-writer.ts";
import type { Logger } from "../observe/log.ts";
import { type Metric, single } from "../observe/metric.ts";
import { type OpenConnection, type RecordDeltas, Recorder } from "../observe/recorder.ts";
import type { Judge } from "../policy/evaluate.ts";
import { DirectConnections } from "./direct-connections.ts";
import {
  type KernelCounters,
  type KernelEvent,
  KernelEvents,
  MAX_RECORDS,
  readCounters,
  readDropped,
} from "./events.ts";
import { kernelFamilies } from "./kernel-metrics.ts";
import { KernelRecords } from "./kernel-records.ts";
import { rowOf } from "./open-records.ts";
import { PodMetrics } from "./pod-metrics.ts";
import { readTraffic, type TrafficRow, trafficKeyOf } from "./traffic-sums.ts";

export type KernelWatchParts = {
  readonly mesh: Snapshot;
  readonly judge: Judge;
  readonly KernelMap: NativeMapClass;
  readonly RingBuffer: NativeRingClass;
  readonly workloadOf: (podIdx: number) => Workload | undefined;
  /** Takes what the kernel counted since the last call, and the access-log lines. */
  readonly counted: (deltas: RecordDeltas, lines: Lines) => void;
  /** A pod's connection went direct, and its destination is in the mesh by now. */
  readonly lateDirect?: (podIdx: number) => void;
  readonly log: Logger;
  readonly accessLog: boolean;
};

type OpenMaps = { readonly events: KernelEvents; readonly counters: NativeMap; readonly traffic: NativeMap };

export const LOOK_EVERY_MS = 100;
/** While much happens: the ring holds 30,000 events, half a second of 30,000 connections a second. */
const LOOK_SOON_MS = 10;
const MUCH = 500;
/** How often it is looked whether the ring was full, and then which records it left without an end. */
const MEND_EVERY_MS = 1_000;
/** Reads of the ring in one look for lost ends: it holds eight times what one takes. */
const MEND_ROUNDS = 9;
/** Label sets of connections that only the kernel saw. */
const LABEL_SETS = 10_000;
/** Whose numbers these are, beside the data threads'. */
export const KERNEL_THREAD = -1;

export class KernelWatch {
  readonly #parts: KernelWatchParts;
  readonly #lines = new LineBatch();
  readonly #recorder: Recorder;
  readonly #records: KernelRecords;
  readonly #pods: PodMetrics;
  readonly #mendTimer: NodeJS.Timeout;
  #lookTimer: NodeJS.Timeout | undefined;
  #open: OpenMaps | null = null;
  readonly #directs = new DirectConnections();
  #unknown = 0;
  #dropped = 0;
  /** As `#dropped`, when this agent began to read. */
  #droppedBefore = 0;
  /** Ends of records may have been lost since they were last looked for. */
  #mending = false;

  constructor(parts: KernelWatchParts) {
    this.#parts = parts;
    this.#recorder = new Recorder({
      thread: KERNEL_THREAD,
      labelSets: LABEL_SETS,
      now: Date.now,
      log: (ended, outcome, atMs) => {
        if (!parts.accessLog) return;
        const line = this.#lines.next();
        if (line !== null) writeAccessLine(line, ended, outcome, { atMs, format: "text" });
      },
    });
    this.#records = new KernelRecords({
      mesh: parts.mesh,
      judge: parts.judge,
      recorder: this.#recorder,
      workloadOf: parts.workloadOf,
    });
    this.#pods = new PodMetrics(parts.workloadOf);
    this.#lookIn(LOOK_EVERY_MS);
    this.#mendTimer = setInterval(() => this.mend(), MEND_EVERY_MS);
    this.#mendTimer.unref();
  }

  /** The ring has a single reader: only the agent that holds the node opens it. */
  opened(maps: LentMaps): void {
    this.#closeMaps();
    const { KernelMap, RingBuffer } = this.#parts;
    this.#open = {
      events: new KernelEvents(new RingBuffer(maps.events)),
      counters: new KernelMap(maps.counters),
      traffic: new KernelMap(maps.traffic),
    };
    this.#unknown = 0;
    this.#dropped = readDropped(this.#open.counters);
    this.#droppedBefore = this.#dropped;
    this.#directs.begin(this.rows());
  }

  counters(): KernelCounters | null {
    return this.#open === null ? null : readCounters(this.#open.counters);
  }

  metrics(): readonly Metric[] {
    return [...this.#pods.metrics(this.rows()), single(kernelFamilies.endsLost, this.#records.endsLost)];
  }

  /** With round trip and retransmits as the ended connections of the same pod, port and way had them on average. */
  connections(limit: number): readonly OpenConnection[] {
    const open = this.#recorder.connections(limit);
    if (open.length === 0) return open;
    const rows = new Map(this.rows().map((row) => [trafficKeyOf(row), row]));
    return open.map((connection) => {
      const { closed = 0, srttUs = 0, retransmits = 0 } = rows.get(trafficKeyOf(rowOf(connection.record))) ?? {};
      const transport = closed === 0 ? null : { rttUs: srttUs / closed, retransmits: retransmits / closed };
      return { ...connection, transport };
    });
  }

  /** The kernel's sums, as they are now. */
  rows(): readonly TrafficRow[] {
    return this.#open === null ? [] : readTraffic(this.#open.traffic);
  }

  /** Pods that may have a connection open that went direct to any of these addresses; null: to any. */
  podsTo(addresses: readonly string[] | null): readonly number[] {
    if (this.#open === null || addresses?.length === 0) return [];
    const areAllSeen = readDropped(this.#open.counters) === this.#droppedBefore;
    return this.#directs.podsTo(addresses, { rows: () => this.rows(), areAllSeen });
  }

  /** Before each change of the mesh: what happened until now is recorded with the names and policies of now. */
  beforeMeshChange(): void {
    this.#read();
  }

  afterMeshChange(): void {
    this.#records.rejudge();
  }

  /** Ends records whose end the full ring has lost. Called by its own timer, and by tests. */
  mend(): void {
    const open = this.#open;
    if (open === null) return;
    const dropped = readDropped(open.counters);
    if (dropped !== this.#dropped) this.#mending = true;
    this.#dropped = dropped;
    if (!this.#mending) return;
    // The sums first: every end that is in them has its event in the ring by now, unless it was lost.
    const rows = readTraffic(open.traffic);
    for (let round = 0; round < MEND_ROUNDS; round++) {
      if (this.#look() < MAX_RECORDS) {
        this.#mending = this.#records.endLost(rows, Date.now());
        this.#handOver();
        return;
      }
    }
    // More comes than is read: the next time.
  }

  /** Reads what is there for the last time: another agent reads from here on. */
  yield(): void {
    this.#look();
    this.#closeMaps();
  }

  close(): void {
    clearTimeout(this.#lookTimer);
    clearInterval(this.#mendTimer);
    this.yield();
  }

  #closeMaps(): void {
    this.#open?.events.close();
    this.#open?.counters.close();
    this.#open?.traffic.close();
    this.#open = null;
  }

  #lookIn(ms: number): void {
    this.#lookTimer = setTimeout(() => {
      const seen = this.#look();
      this.#lookIn(seen > MUCH ? LOOK_SOON_MS : LOOK_EVERY_MS);
    }, ms);
    this.#lookTimer.unref();
  }

  /** How many events there were. */
  #look(): number {
    if (this.#open === null) return 0;
    const count = this.#read();
    this.#handOver();
    return count;
  }

  /** As `#look`; what was counted is handed over at the next look. */
  #read(): number {
    if (this.#open === null) return 0;
    const { events } = this.#open;
    const count = events.drain((event) => {
      this.#records.handle(event);
      if (!event.outside) return;
      this.#directs.handle(event);
      if (event.type === "open" && this.#isOfMesh(event)) this.#parts.lateDirect?.(event.podIdx);
    });
    if (events.unknown > this.#unknown) {
      this.#parts.log.warn("kernel events of another layout", { count: events.unknown - this.#unknown });
      this.#unknown = events.unknown;
    }
    return count;
  }

  #isOfMesh({ podIdx, destination: { address } }: KernelEvent): boolean {
    const { mesh, workloadOf } = this.#parts;
    return (
      mesh.workloadAt(address) !== undefined ||
      mesh.rivalsAt(address).length > 0 ||
      mesh.serviceAt(address, workloadOf(podIdx)?.namespace ?? "") !== undefined
    );
  }

  #handOver(): void {
    this.#parts.counted(this.#recorder.takeDeltas(), this.#lines.take());
  }
}
