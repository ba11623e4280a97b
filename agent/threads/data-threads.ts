// main thread · the data threads as the main thread sees them: it starts them together, sends most messages to all of them, and
// ends with the first that dies.
import { closeSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { EjectionCells, type EjectionCounts } from "../traffic/ejection-cells.ts";
import { newSharedState, type SharedState } from "../traffic/shared-state.ts";
import { UnderWayCells } from "../traffic/under-way-cells.ts";
import type { DataThreadMessage, DataThreadOptions, MainMessage, ThreadReport } from "./messages.ts";
import { ThreadOutbox } from "./thread-outbox.ts";

export type PodMessage = Extract<MainMessage, { readonly op: "pod" }>;

export type DataThreadsOptions = {
  readonly count: number;
  readonly thread: Omit<DataThreadOptions, "index" | "ticks" | "shared">;
  /** Returns another descriptor of the same socket: each thread owns the descriptors that it gets. */
  readonly duplicate: (fd: number) => number;
  /** A thread ended without being asked to. Its connections are gone, so the process must end as well. */
  readonly died: (thread: number, error: Error) => void;
};

/** A message that DataThreads does not handle itself, since it concerns all of the agent. */
export type AgentMessage = Exclude<
  DataThreadMessage,
  { readonly op: "ready" | "taken" | "applied" | "pod-done" | "report" | "drained" }
>;
export type ThreadListener = (thread: number, message: AgentMessage) => void;

export class DataThreads {
  readonly #options: DataThreadsOptions;
  readonly #workers: Worker[] = [];
  readonly #outboxes: ThreadOutbox[] = [];
  readonly #exits: Promise<void>[] = [];
  #batchesSent = 0;
  /** Of each thread. */
  readonly #batchesApplied: number[] = [];
  /** Each thread counts the turns of its loop in its own slot; heartbeat.ts watches them. */
  readonly ticks: Int32Array<SharedArrayBuffer>;
  readonly #shared: SharedState;
  readonly #ejections: EjectionCells;
  readonly #underWay: UnderWayCells;
  readonly #connections: UnderWayCells;
  /** By pod: how many threads have not yet carried out the last message about it. */
  readonly #waiting = new Map<number, { missing: number; done: () => void }>();
  /** By pod: settles when all threads have carried out the last message about it. The next message waits for that. */
  readonly #turns = new Map<number, Promise<void>>();
  readonly #reports = new Map<number, { readonly got: ThreadReport[]; readonly done: (all: ThreadReport[]) => void }>();
  #reportId = 0;
  #drained: { missing: number; readonly done: () => void } | null = null;
  #closing = false;
  #listener: ThreadListener | null = null;
  /** Messages from before there was a listener. */
  #unheard: { readonly thread: number; readonly message: AgentMessage }[] = [];

  constructor(options: DataThreadsOptions) {
    this.#options = options;
    this.ticks = new Int32Array(new SharedArrayBuffer(4 * options.count));
    this.#shared = newSharedState(options.count);
    this.#ejections = new EjectionCells(this.#shared.ejections);
    this.#underWay = new UnderWayCells(this.#shared.underWay, options.count);
    this.#connections = new UnderWayCells(this.#shared.connections, options.count, "awaited");
  }

  /** What they have seen of endpoints that fail. */
  get ejections(): EjectionCounts {
    return this.#ejections.counts;
  }

  /** Connections that were refused, since as many as a DestinationRule allows were open. */
  get connectionOverflow(): number {
    return this.#connections.refusals;
  }

  /** Starts all threads; resolves when each has said that it is ready. */
  async start(): Promise<void> {
    const { count, thread } = this.#options;
    await Promise.all(
      Array.from({ length: count }, (_, index) =>
        this.#startThread({ ...thread, index, ticks: this.ticks.buffer, shared: this.#shared }),
      ),
    );
  }

  #startThread(options: DataThreadOptions): Promise<void> {
    const worker = new Worker(new URL("./data-thread.ts", import.meta.url), {
      workerData: options,
      name: `data-${options.index}`,
      // Descriptors that the main thread has opened are closed here: no mistake, of which Node would warn.
      trackUnmanagedFds: false,
    });
    this.#workers.push(worker);
    this.#batchesApplied.push(0);
    this.#outboxes.push(new ThreadOutbox((message) => worker.postMessage(message)));
    this.#exits.push(new Promise((resolve) => worker.once("exit", () => resolve())));
    return new Promise((resolve, reject) => {
      worker.on("message", (message: DataThreadMessage) => {
        if (message.op === "ready") resolve();
        this.#receive(options.index, message);
      });
      worker.once("error", (error: Error) => {
        reject(error);
        this.#options.died(options.index, error);
      });
      worker.once("exit", (status) => {
        this.#underWay.ended(options.index);
        this.#connections.ended(options.index);
        if (this.#closing) return;
        const error = new Error(`data thread ${options.index} ended with status ${status}`);
        reject(error);
        this.#options.died(options.index, error);
      });
    });
  }

  /** Messages that concern all of the agent go to `listener`, also those that came before this call. */
  listen(listener: ThreadListener): void {
    this.#listener = listener;
    for (const { thread, message } of this.#unheard.splice(0)) listener(thread, message);
  }

  /** Batches of updates that were sent to every thread. */
  get batchesSent(): number {
    return this.#batchesSent;
  }

  /** How many of them, from the first, every thread judges by. */
  get batchesApplied(): number {
    return Math.min(...this.#batchesApplied);
  }

  /** Sends to every thread. */
  tell(message: MainMessage): void {
    if (message.op === "updates" && !message.more) this.#batchesSent += 1;
    for (const outbox of this.#outboxes) outbox.send(message);
  }

  /**
   * Hands a pod with its listeners to every thread; resolves when all threads poll them. Owns the descriptors, also when
   * it fails.
   */
  async servePod(pod: PodMessage): Promise<void> {
    await this.#everywhere(pod.podIdx, this.#copies(pod));
  }

  /** The keeper has released the pod: peers are sent elsewhere. Resolves when every thread has. */
  leavePod(podIdx: number): Promise<void> {
    return this.#everywhere(
      podIdx,
      this.#workers.map(() => ({ op: "pod-leaves", podIdx })),
    );
  }

  /** Stops accepting for the pod; with `cut` its connections end. Resolves when every thread has closed its listeners. */
  removePod(podIdx: number, cut: boolean): Promise<void> {
    return this.#everywhere(
      podIdx,
      this.#workers.map(() => ({ op: "pod-removed", podIdx, cut })),
    );
  }

  /** The message for each thread; the last thread gets the descriptors themselves. */
  #copies(pod: PodMessage): readonly PodMessage[] {
    const copies: PodMessage[] = [];
    const open: number[] = pod.listeners.map(({ fd }) => fd);
    try {
      for (let thread = 1; thread < this.#workers.length; thread += 1) {
        const listeners = pod.listeners.map(({ kind, fd }) => ({ kind, fd: this.#options.duplicate(fd) }));
        copies.push({ ...pod, listeners });
        open.push(...listeners.map(({ fd }) => fd));
      }
    } catch (error) {
      for (const fd of open) closeSync(fd);
      throw error;
    }
    return [...copies, pod];
  }

  /** Sends each thread its message about the pod once all threads have carried out the message before. */
  #everywhere(podIdx: number, messages: readonly MainMessage[]): Promise<void> {
    const before = this.#turns.get(podIdx) ?? Promise.resolve();
    const done = before.then(
      () =>
        new Promise<void>((resolve) => {
          this.#waiting.set(podIdx, { missing: messages.length, done: resolve });
          for (const [index, outbox] of this.#outboxes.entries()) {
            const message = messages[index];
            if (message !== undefined) outbox.send(message);
          }
        }),
    );
    this.#turns.set(podIdx, done);
    return done.finally(() => {
      if (this.#turns.get(podIdx) === done) this.#turns.delete(podIdx);
    });
  }

  /** Refills the pool of the thread that ran low. */
  addSockets(thread: number, message: Extract<MainMessage, { readonly op: "sockets" }>): void {
    this.#outboxes[thread]?.send(message);
  }

  /** Not behind updates that wait: what a root no longer vouches for ends now. */
  rootsChanged(): void {
    for (const worker of this.#workers) worker.postMessage({ op: "roots" } satisfies MainMessage);
  }

  /** Takes ownership of the descriptor, also when it throws. */
  setFlowMap(fd: number): void {
    try {
      for (const outbox of this.#outboxes) outbox.send({ op: "flow-map", fd: this.#options.duplicate(fd) });
    } finally {
      closeSync(fd);
    }
  }

  /** Asks every thread for its report. A thread that does not answer within a second is left out. */
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

  /**
   * No thread accepts new connections from here on. Open connections may end within `limitMs`; the engine cuts the rest.
   * Resolves when no thread has a connection left.
   */
  drain(limitMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#drained = { missing: this.#workers.length, done: resolve };
      this.tell({ op: "drain", limitMs });
    });
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.tell({ op: "close" });
    const killer = setTimeout(() => {
      for (const worker of this.#workers) void worker.terminate();
    }, 1_000);
    await Promise.all(this.#exits);
    clearTimeout(killer);
  }

  #receive(thread: number, message: DataThreadMessage): void {
    switch (message.op) {
      case "ready":
        return;
      case "taken":
        this.#outboxes[thread]?.taken();
        return;
      case "applied":
        this.#batchesApplied[thread] = (this.#batchesApplied[thread] ?? 0) + 1;
        return;
      case "pod-done":
        this.#podDone(message.podIdx);
        return;
      case "report": {
        const asked = this.#reports.get(message.id);
        asked?.got.push(message.report);
        if (asked?.got.length === this.#workers.length) asked.done(asked.got);
        return;
      }
      case "drained":
        if (this.#drained !== null && --this.#drained.missing === 0) this.#drained.done();
        return;
      default:
        if (this.#listener === null) this.#unheard.push({ thread, message });
        else this.#listener(thread, message);
    }
  }

  #podDone(podIdx: number): void {
    const waiting = this.#waiting.get(podIdx);
    if (waiting === undefined || --waiting.missing > 0) return;
    this.#waiting.delete(podIdx);
    waiting.done();
  }
}
