// tests · the data threads of a node, whose pod calls a Service: a worker each (shares-thread.ts).
import { once } from "node:events";
import type { TestContext } from "node:test";
import { Worker } from "node:worker_threads";
import { workload } from "../../agent/mesh/mesh.fake.ts";
import { newSharedState, type SharedState } from "../../agent/traffic/shared-state.ts";
import { UnderWayCells } from "../../agent/traffic/under-way-cells.ts";
import type { SharesThread, ThreadAsked } from "./shares-thread.ts";

/** A listening port of each data thread, and what they share. */
export type SharingNode = {
  readonly ports: readonly number[];
  readonly shared: SharedState;
  /** Each thread has done it. */
  readonly ask: (asked: ThreadAsked) => Promise<void>;
};

export async function sharingNode(
  t: TestContext,
  threads: number,
  given: Omit<SharesThread, "thread" | "threads" | "shared">,
) {
  const shared = newSharedState(threads);
  const ports: number[] = [];
  const workers: Worker[] = [];
  for (let thread = 0; thread < threads; thread += 1) {
    const workerData: SharesThread = { thread, threads, shared, ...given };
    const worker = new Worker(new URL("./shares-thread.ts", import.meta.url), {
      workerData,
    });
    t.after(async () => {
      worker.postMessage("close");
      await once(worker, "exit");
    });
    const [port] = (await once(worker, "message")) as [number];
    ports.push(port);
    workers.push(worker);
  }
  const ask = async (asked: ThreadAsked): Promise<void> => {
    const done = workers.map((worker) => once(worker, "message"));
    for (const worker of workers) worker.postMessage(asked);
    await Promise.all(done);
  };
  return { ports, shared, ask } satisfies SharingNode;
}

/** Its counts of connections and of requests that wait, over all threads. */
export const connectionsOf = ({ shared, ports }: SharingNode): UnderWayCells =>
  new UnderWayCells(shared.connections, ports.length, "awaited");

/** How many of the pod's requests wait for a connection or a stream. */
export function waiting(made: SharingNode): number {
  const cells = connectionsOf(made);
  return cells.waiting(cells.keyOf(`requests\0${workload("web").identity.text}\0shop/api:80`));
}
