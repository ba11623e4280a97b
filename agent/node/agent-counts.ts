// main thread · adds up what data threads and kernel counted since the agent started, and passes their access-log lines on.
import type { AwaitedFound } from "../keeper/protocol.ts";
import type { Lines, LineWriter } from "../observe/line-writer.ts";
import { RecordTotals } from "../observe/record-totals.ts";
import type { RecordDeltas } from "../observe/recorder.ts";
import { PeerCounts } from "../threads/thread-metrics.ts";

export class AgentCounts {
  readonly totals = new RecordTotals(Date.now);
  readonly peers = new PeerCounts();
  readonly #lines: Pick<LineWriter, "add" | "dropped"> | null;
  readonly #open = new Map<number, number>();
  readonly #found: Record<AwaitedFound, number> = { expected: 0, "first-process": 0, late: 0 };
  #denied = 0;
  #certificateFailures = 0;
  #droppedInThreads = 0;

  /** @param lines null: there is no access log */
  constructor(lines: Pick<LineWriter, "add" | "dropped"> | null) {
    this.#lines = lines;
  }

  /** @param thread its index; -1 for the records that the kernel's events make */
  counted(thread: number, deltas: RecordDeltas, log: Lines): void {
    this.totals.add(thread, deltas);
    this.#open.set(thread, deltas.open);
    for (const [key, value] of Object.entries(deltas.decisions)) if (key.startsWith("deny|")) this.#denied += value;
    this.#droppedInThreads += log.dropped;
    this.#lines?.add(log.bytes, log.lines);
  }

  /** A pod that was to be guarded from its first process on has begun. */
  podFound(found: AwaitedFound): void {
    this.#found[found] += 1;
  }

  certificateFailed(): void {
    this.#certificateFailures += 1;
  }

  /** Connections that the data threads have open, and those that only the kernel saw. */
  get openConnections(): number {
    return [...this.#open.values()].reduce((sum, open) => sum + open, 0);
  }

  /** By what they had when their guard was put. */
  get podsFound(): Readonly<Record<AwaitedFound, number>> {
    return this.#found;
  }

  get denied(): number {
    return this.#denied;
  }

  get certificateFailures(): number {
    return this.#certificateFailures;
  }

  /** Access-log lines that were never written. */
  get linesDropped(): number {
    return (this.#lines?.dropped ?? 0) + this.#droppedInThreads;
  }
}
