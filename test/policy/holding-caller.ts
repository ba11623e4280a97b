// A thread that takes places among the requests under way and gives them back, as fast as it can.
import { parentPort, workerData } from "node:worker_threads";
import { UnderWayCells } from "../../agent/traffic/under-way-cells.ts";

export type HoldingCallerOptions = {
  readonly cells: SharedArrayBuffer;
  readonly threads: number;
  readonly thread: number;
  /** Int32Array: places that are held, the most that were, takes that succeeded, takes that did not. */
  readonly held: SharedArrayBuffer;
  readonly most: number;
  readonly times: number;
  /** It takes so many places, says so, and does nothing more. */
  readonly keeps: number;
};

const options: HoldingCallerOptions = workerData;
const { thread, most } = options;
const held = new Int32Array(options.held);
const cells = new UnderWayCells(options.cells, options.threads);
const key = cells.keyOf("web to api");
for (let nth = 0; nth < options.keeps; nth += 1) cells.take(key, thread, most);
if (options.keeps > 0) parentPort?.postMessage("keeps");
else
  for (let nth = 0; nth < options.times; nth += 1) {
    const at = cells.take(key, thread, most);
    Atomics.add(held, at === undefined ? 3 : 2, 1);
    if (at === undefined) continue;
    const now = Atomics.add(held, 0, 1) + 1;
    for (let seen = Atomics.load(held, 1); seen < now; seen = Atomics.load(held, 1))
      Atomics.compareExchange(held, 1, seen, now);
    for (let spun = 0; spun < 200; spun += 1) Atomics.load(held, 0);
    Atomics.sub(held, 0, 1);
    cells.release(at, thread);
  }
