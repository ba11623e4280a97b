// tests · the data threads of a node, whose pod calls a Service: a worker each (shares-thread.ts).
import { once } from "node:events";
import type { TestContext } from "node:test";
import { Worker } from "node:worker_threads";
import { newSharedState, type SharedState } from "../../agent/traffic/shared-state.ts";
import type { SharesThread } from "./shares-thread.ts";

/** A listening port of each data thread, and what they share. */
export type SharingNode = { readonly ports: readonly number[]; readonly shared: SharedState };

export async function sharingNode(
  t: TestContext,
  threads: number,
  given: Omit<SharesThread, "thread" | "threads" | "shared">,
) {
  const shared = newSharedState(threads);
  const ports: number[] = [];
  for (let thread = 0; thread < threads; thread += 1) {
    const workerData: SharesThread = { thread, threads, shared, ...given };
    const worker = new Worker(new URL("./shares-thread.ts", import.meta.url), { workerData });
    t.after(async () => {
      worker.postMessage("close");
      await once(worker, "exit");
    });
    const [port] = (await once(worker, "message")) as [number];
    ports.push(port);
  }
  return { ports, shared } satisfies SharingNode;
}
