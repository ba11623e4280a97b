// A thread that asks for requests of shared buckets as fast as it can, by a clock that all callers move: each attempt is one step. So what
// is admitted depends on how the threads meet, and never on how fast this machine is.
import { parentPort, workerData } from "node:worker_threads";
import { LimitCells } from "../../agent/policy/limit-cells.ts";

export type CallerOptions = {
  readonly cells: SharedArrayBuffer;
  /** A BigInt64Array of one word: attempts of all callers so far. */
  readonly attempts: SharedArrayBuffer;
  readonly upTo: bigint;
  readonly stepNs: bigint;
  readonly intervalNs: bigint;
  readonly aheadNs: bigint;
  readonly keys: readonly string[];
};

const { cells: buffer, attempts, upTo, stepNs, intervalNs, aheadNs, keys: texts }: CallerOptions = workerData;
const cells = new LimitCells(buffer);
const clock = new BigInt64Array(attempts);
const keys = texts.map((text) => cells.keyOf(text));
let admitted = 0;
for (let nth = 0; ; nth += 1) {
  const step = Atomics.add(clock, 0, 1n);
  if (step >= upTo) break;
  const key = keys[nth % keys.length] ?? 0n;
  if (cells.take(key, { intervalNs, aheadNs }, 1n + step * stepNs).waitNs === 0n) admitted += 1;
}
parentPort?.postMessage(admitted);
