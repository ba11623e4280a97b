// main thread · complete lines to stdout or a file: buffered, nothing lost while the sink keeps up; a sink that stalls loses
// the newest lines, counted, and never memory or the loop.
import { close, constants, openSync, write } from "node:fs";
import { LineBytes } from "./line-bytes.ts";
import type { MetricFamily } from "./metric.ts";

export const lineFamilies = {
  dropped: {
    name: "orlop_access_log_dropped_total",
    type: "counter",
    unit: "lines",
    labels: [],
    help: "Access log lines dropped because the sink stalled",
  },
} as const satisfies Record<string, MetricFamily>;

/** Access-log lines on their way from where they were made to the one writer. */
export type Lines = { readonly bytes: Uint8Array; readonly lines: number; readonly dropped: number };

/** Lines that a data thread gathers between hand-overs; what exceeds the bound is counted, not kept. */
export class LineBatch {
  readonly #limit: number;
  readonly #bytes = new LineBytes();
  #lines = 0;
  #dropped = 0;

  constructor(limit = 10_000) {
    this.#limit = limit;
  }

  /** Where to write exactly one more line, its end included; null: there is no room for it, which is counted. */
  next(): LineBytes | null {
    if (this.#lines >= this.#limit) {
      this.#dropped += 1;
      return null;
    }
    this.#lines += 1;
    return this.#bytes;
  }

  add(line: string): void {
    this.next()?.addText(line);
  }

  take(): Lines {
    const taken = { bytes: this.#bytes.take(), lines: this.#lines, dropped: this.#dropped };
    this.#lines = 0;
    this.#dropped = 0;
    return taken;
  }
}

/** Writes some of `bytes`; `done` gets how many, or an error. At most one call is outstanding. */
export type Sink = (bytes: Uint8Array, done: (error: NodeJS.ErrnoException | null, written: number) => void) => void;

export type LineWriterOptions = {
  readonly sink: Sink;
  /** Most bytes held while the sink is busy. Default 16 MiB. */
  readonly limitBytes?: number;
  /** How long to wait before a sink that said EAGAIN is tried again. */
  readonly retryMs?: number;
};

export class LineWriter {
  readonly #sink: Sink;
  readonly #limitBytes: number;
  readonly #retryMs: number;
  #queue: { readonly bytes: Uint8Array; readonly lines: number }[] = [];
  #queuedBytes = 0;
  #busy = false;
  #dropped = 0;
  #idle: (() => void)[] = [];

  constructor(options: LineWriterOptions) {
    this.#sink = options.sink;
    this.#limitBytes = options.limitBytes ?? 16 * 1024 * 1024;
    this.#retryMs = options.retryMs ?? 50;
  }

  /** Lines that were never written, since the start. A metric. */
  get dropped(): number {
    return this.#dropped;
  }

  /** `bytes` are `lines` complete lines, the writer's from now on. They are written together or dropped together. */
  add(bytes: Uint8Array, lines: number): void {
    if (bytes.length === 0) return;
    if (this.#queuedBytes + bytes.length > this.#limitBytes) {
      this.#dropped += lines;
      return;
    }
    this.#queue.push({ bytes, lines });
    this.#queuedBytes += bytes.length;
    this.#pump();
  }

  /** Lines that a data thread had to drop before they got here. */
  addDropped(lines: number): void {
    this.#dropped += lines;
  }

  /** Resolves once everything queued is written or counted as dropped. */
  flush(): Promise<void> {
    if (!this.#busy) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #pump(): void {
    if (this.#busy) return;
    const batch = this.#queue;
    if (batch.length === 0) {
      const waiting = this.#idle;
      this.#idle = [];
      for (const resolve of waiting) resolve();
      return;
    }
    this.#queue = [];
    this.#busy = true;
    const lines = batch.reduce((sum, queued) => sum + queued.lines, 0);
    const [first] = batch;
    const bytes = first && batch.length === 1 ? first.bytes : Buffer.concat(batch.map((queued) => queued.bytes));
    this.#write(bytes, 0, lines);
  }

  #write(bytes: Uint8Array, from: number, lines: number): void {
    this.#sink(bytes.subarray(from), (error, written) => {
      if (error?.code === "EAGAIN" || error?.code === "EINTR") {
        setTimeout(() => this.#write(bytes, from, lines), this.#retryMs).unref();
        return;
      }
      if (error) this.#dropped += lines;
      else if (from + written < bytes.length) return this.#write(bytes, from + written, lines);
      this.#queuedBytes -= bytes.length;
      this.#busy = false;
      this.#pump();
    });
  }
}

export type OpenSink = { readonly sink: Sink; readonly close: () => void };

/** stdout by its descriptor, not by process.stdout: the latter buffers without bound. Throws when the file cannot be opened. */
export function openSink(target: "stdout" | { readonly path: string }): OpenSink {
  const fd =
    target === "stdout"
      ? 1
      : openSync(
          target.path,
          constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW,
          0o640,
        );
  return {
    sink: (bytes, done) => write(fd, bytes, 0, bytes.length, null, done),
    close: () => {
      // Nothing is left to do about a descriptor that will not close.
      if (fd !== 1) close(fd, () => undefined);
    },
  };
}
