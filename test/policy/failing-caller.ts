// A thread whose requests go to two endpoints, of which the first always fails, by a clock that all callers move: each request is one step. So
// what happens depends on how the threads meet, and never on how fast this machine is.
import { parentPort, workerData } from "node:worker_threads";
import { service } from "../../agent/mesh/mesh.fake.ts";
import { nowhere } from "../../agent/mesh/source-ref.ts";
import type { OutlierDetection } from "../../agent/mesh/traffic-policy.ts";
import type { Candidate } from "../../agent/plan/endpoints.ts";
import type { RequestsTo } from "../../agent/plan/forwarded-request.ts";
import { EjectionCells } from "../../agent/traffic/ejection-cells.ts";
import { EndpointHealth } from "../../agent/traffic/endpoint-health.ts";
import { RateCells } from "../../agent/traffic/rate-cells.ts";

export type FailingCallerOptions = {
  readonly cells: SharedArrayBuffer;
  /** BigInt64Array: steps so far; requests at the failing endpoint now; at most at once while it was probed; all that it got. */
  readonly counts: SharedArrayBuffer;
  readonly upTo: bigint;
  readonly stepsPerMs: bigint;
  readonly outliers: OutlierDetection;
  /** It says so when it has a probe, and does nothing more. */
  readonly keepsProbe: boolean;
};

export const [STEPS, THERE, MOST, GOT] = [0, 1, 2, 3];
export const failing: Candidate = { workload: null, address: "10.0.0.1", port: 80, weight: 1, healthy: true };
const serving: Candidate = { ...failing, address: "10.0.0.2" };

export function requestsTo(outliers: OutlierDetection): RequestsTo {
  const to = service("api", {
    traffic: { outliers, maxRequests: null, hash: null, balance: null, warmUp: null, from: nowhere },
  });
  const [port] = to.ports;
  if (port === undefined) throw new Error("a Service without ports");
  return { caller: "spiffe://cluster.local/ns/shop/sa/web", service: to, port, rule: "shop/api[0]" };
}

function call({ cells: buffer, counts, upTo, stepsPerMs, outliers, keepsProbe }: FailingCallerOptions): void {
  const words = new BigInt64Array(counts);
  const cells = new EjectionCells(buffer);
  const rates = new RateCells(RateCells.buffer());
  const health = new EndpointHealth({ ejections: cells, rates }, () => Number(Atomics.load(words, STEPS) / stepsPerMs));
  const to = requestsTo(outliers);
  for (let nth = 0; Atomics.add(words, STEPS, 1n) < upTo; nth += 1) {
    const used = health.narrow(to, [failing, serving], () => true);
    const at = used[nth % used.length] ?? serving;
    const isProbe = used.length === 1 && at === failing;
    const hold = health.hold(to, at);
    if (hold === "taken" || hold === null) continue;
    if (at !== failing) {
      hold.end("served");
      continue;
    }
    Atomics.add(words, GOT, 1n);
    if (isProbe && keepsProbe) {
      parentPort?.postMessage("probes");
      return;
    }
    if (isProbe) {
      const there = Atomics.add(words, THERE, 1n) + 1n;
      for (let most = Atomics.load(words, MOST); most < there; most = Atomics.load(words, MOST))
        Atomics.compareExchange(words, MOST, most, there);
      // Long enough for every other thread to come by.
      const until = Atomics.load(words, STEPS) + 50n;
      for (let spun = 0; Atomics.load(words, STEPS) < until && spun < 100_000; spun += 1);
      Atomics.sub(words, THERE, 1n);
    }
    hold.end("failed");
  }
}

if (workerData?.cells !== undefined) call(workerData);
