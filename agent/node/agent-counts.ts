// main thread · adds up what data threads and kernel counted since the agent started, and passes their access-log lines on.
import type { Lines, LineWriter } from "../observe/line-writer.ts";
import { RecordTotals } from "../observe/record-totals.ts";
import type { RecordDeltas } from "../observe/recorder.ts";
import { PeerCounts } from "../threads/thread-metrics.ts";

export class AgentCounts {
  readonly totals = new RecordTotals(Date.now);
  readonly peers = new PeerCounts();
  readonly #lines: Pick<LineWriter, "add" | "dropped"> | null;
  readonly #open = new Map<number, number>();
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
    this.#lines?.add(log.text, log.lines);
  }

  certificateFailed(): void {
    this.#certificateFailures += 1;
  }

  /** Connections that the data threads have open, and those that only the kernel saw. */
  get openConnections(): number {
    return [...this.#open.values()].reduce((sum, open) => sum + open, 0);
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
