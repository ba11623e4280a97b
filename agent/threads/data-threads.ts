// main thread · the data threads as main sees them: born together, told everything together, none may die alone.
import { Worker } from "node:worker_threads";
import type { DataThreadOptions, FromDataThread, LentFd, ThreadReport, ToDataThread } from "./messages.ts";
import { ThreadOutbox } from "./thread-outbox.ts";

export type PodOrder = Extract<ToDataThread, { readonly op: "pod" }>;

export type DataThreadsOptions = {
  readonly count: number;
  readonly thread: Omit<DataThreadOptions, "index" | "ticks">;
  /** Another descriptor of the same socket: each thread owns its own. */
  readonly duplicate: (fd: number) => number;
  /** What a thread said that concerns all of the agent. */
  readonly heard: (thread: number, message: FromDataThread) => void;
  /** A thread ended without being asked to: its connections are gone, and so must the process be. */
  readonly died: (thread: number, error: Error) => void;
};

export class DataThreads {
  readonly #options: DataThreadsOptions;
  readonly #workers: Worker[] = [];
  readonly #outboxes: ThreadOutbox[] = [];
  /** One slot per thread, counted up by its own loop; heartbeat.ts watches them. */
  readonly ticks: Int32Array<SharedArrayBuffer>;
  /** By pod: how many threads have not yet done what they were last told. */
  readonly #waiting = new Map<number, { missing: number; done: () => void }>();
  readonly #turns = new Map<number, Promise<void>>();
  readonly #reports = new Map<number, { readonly got: ThreadReport[]; readonly done: (all: ThreadReport[]) => void }>();
  #reportId = 0;
  #closing = false;

  constructor(options: DataThreadsOptions) {
    this.#options = options;
    this.ticks = new Int32Array(new SharedArrayBuffer(4 * options.count));
  }

  /** Starts all of them; resolves when each said that it is ready. */
  async start(): Promise<void> {
    const { count, thread } = this.#options;
    await Promise.all(
      Array.from({ length: count }, (_, index) => this.#startOne({ ...thread, index, ticks: this.ticks.buffer })),
    );
  }

  #startOne(options: DataThreadOptions): Promise<void> {
    const worker = new Worker(new URL("./data-thread.ts", import.meta.url), {
      workerData: options,
      name: `data-${options.index}`,
    });
    const outbox = new ThreadOutbox((message) => worker.postMessage(message));
    this.#workers.push(worker);
    this.#outboxes.push(outbox);
    return new Promise((resolve, reject) => {
      worker.on("message", (message: FromDataThread) => {
        if (message.op === "ready") resolve();
        else if (message.op === "taken") outbox.taken();
        else this.#receive(options.index, message);
      });
      worker.once("error", (error: Error) => {
        reject(error);
        this.#options.died(options.index, error);
      });
      worker.once("exit", (status) => {
        if (this.#closing) return;
        const error = new Error(`data thread ${options.index} ended with status ${status}`);
        reject(error);
        this.#options.died(options.index, error);
      });
    });
  }

  tell(message: ToDataThread): void {
    for (const outbox of this.#outboxes) outbox.send(message);
  }

  /** Hands a pod with its listeners to every thread; resolves when all of them poll it. Owns the descriptors. */
  servePod(order: PodOrder): Promise<void> {
    return this.#everywhere(order.podIdx, (index) => {
      const last = index === this.#workers.length - 1;
      const own = ({ kind, fd }: LentFd): LentFd => ({ kind, fd: last ? fd : this.#options.duplicate(fd) });
      return { ...order, listeners: order.listeners.map(own) };
    });
  }

  /** Stops accepting for the pod; with `cut` its connections end. Resolves when every thread has closed its listeners. */
  removePod(podIdx: number, cut: boolean): Promise<void> {
    return this.#everywhere(podIdx, () => ({ op: "pod-removed", podIdx, cut }));
  }

  async #everywhere(podIdx: number, message: (thread: number) => ToDataThread): Promise<void> {
    await this.#turns.get(podIdx);
    const done = new Promise<void>((resolve) =>
      this.#waiting.set(podIdx, { missing: this.#workers.length, done: resolve }),
    );
    this.#turns.set(podIdx, done);
    for (const [index, outbox] of this.#outboxes.entries()) outbox.send(message(index));
    await done;
    if (this.#turns.get(podIdx) === done) this.#turns.delete(podIdx);
  }

  /** Sockets for the pool of the one thread that ran low. */
  addSockets(thread: number, message: Extract<ToDataThread, { readonly op: "sockets" }>): void {
    this.#outboxes[thread]?.send(message);
  }

  setFlowMap(fd: number): void {
    // The engine duplicates it.
    this.tell({ op: "flow-map", fd });
  }

  /** What every thread knows of itself; without those that do not answer within a second. */
  report(connections: boolean): Promise<ThreadReport[]> {
    const id = ++this.#reportId;
    return new Promise((resolve) => {
      const got: ThreadReport[] = [];
      const done = (): void => {
        clearTimeout(timer);
        this.#reports.delete(id);
        resolve(got);
      };
      const timer = setTimeout(done, 1_000);
      this.#reports.set(id, { got, done });
      this.tell({ op: "report", id, connections });
    });
  }

  /** Takes nothing new, lets open connections end within `limitMs`, cuts the rest; resolves when all threads are empty. */
  drain(limitMs: number): Promise<void> {
    let missing = this.#workers.length;
    return new Promise((resolve) => {
      for (const worker of this.#workers) {
        worker.on("message", (message: FromDataThread) => {
          if (message.op === "drained" && --missing === 0) resolve();
        });
      }
      this.tell({ op: "drain", limitMs });
    });
  }

  async close(): Promise<void> {
    this.#closing = true;
    const ended = this.#workers.map((worker) => new Promise<void>((resolve) => worker.once("exit", () => resolve())));
    this.tell({ op: "close" });
    const killer = setTimeout(() => {
      for (const worker of this.#workers) void worker.terminate();
    }, 1_000);
    await Promise.all(ended);
    clearTimeout(killer);
  }

  #receive(thread: number, message: FromDataThread): void {
    if (message.op === "pod-done") {
      const waiting = this.#waiting.get(message.podIdx);
      if (waiting !== undefined && --waiting.missing === 0) {
        this.#waiting.delete(message.podIdx);
        waiting.done();
      }
    } else if (message.op === "report") {
      const asked = this.#reports.get(message.id);
      asked?.got.push(message.report);
      if (asked?.got.length === this.#workers.length) asked.done(asked.got);
    } else this.#options.heard(thread, message);
  }
}
