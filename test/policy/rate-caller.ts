// A thread whose requests go round six endpoints, of which the first fails every other request, by a clock that all callers move: each request is a
// step. No thread alone sees enough requests of an endpoint for its rate to count.
import { workerData } from "node:worker_threads";
import type { OutlierDetection } from "../../agent/mesh/traffic-policy.ts";
import type { Candidate } from "../../agent/plan/endpoints.ts";
import { EjectionCells } from "../../agent/traffic/ejection-cells.ts";
import { EndpointHealth } from "../../agent/traffic/endpoint-health.ts";
import { RateCells } from "../../agent/traffic/rate-cells.ts";
import { requestsTo } from "./failing-caller.ts";

export type RateCallerOptions = {
  readonly ejections: SharedArrayBuffer;
  readonly rates: SharedArrayBuffer;
  /** BigInt64Array: steps so far; sweeps that were taken. */
  readonly counts: SharedArrayBuffer;
  readonly upTo: bigint;
  readonly stepsPerMs: bigint;
  readonly outliers: OutlierDetection;
};

export const [STEPS, SWEEPS, FIRST] = [0, 1, 2];
export const endpoints: readonly Candidate[] = Array.from({ length: 6 }, (_, nth) => ({
  ...{ workload: null, address: `10.0.0.${nth}`, port: 80, weight: 1, healthy: true },
}));

function call({ ejections, rates: buffer, counts, upTo, stepsPerMs, outliers }: RateCallerOptions): void {
  const words = new BigInt64Array(counts);
  const rates = new RateCells(buffer);
  const now = (): number => Number(Atomics.load(words, STEPS) / stepsPerMs);
  const health = new EndpointHealth({ ejections: new EjectionCells(ejections), rates }, now);
  const to = requestsTo(outliers);
  const sweep = rates.keyOf("who sweeps");
  for (;;) {
    const step = Atomics.add(words, STEPS, 1n);
    if (step >= upTo) return;
    if (rates.takeSweep(sweep, now(), 1_000) === "mine") Atomics.add(words, SWEEPS, 1n);
    const used = health.narrow(to, endpoints, () => false);
    const at = used[Number(step) % used.length] ?? endpoints[0];
    if (at === undefined) return;
    const hold = health.hold(to, at);
    if (hold === "taken" || hold === null) continue;
    const nth = Atomics.add(words, FIRST + endpoints.indexOf(at), 1n);
    hold.end(at === endpoints[0] && nth % 2n === 0n ? "failed" : "served");
  }
}

if (workerData?.rates !== undefined) call(workerData);
