// 18 · data thread · since when each endpoint of a Service could serve, as this thread has seen it; an endpoint that has just come gets less at first.
import { fullName } from "../mesh/full-name.ts";
import type { Service, ServicePort } from "../mesh/service.ts";
import type { WarmUp } from "../mesh/traffic-policy.ts";
import type { Candidate } from "../plan/endpoints.ts";

/** Services that are known at once; then it begins anew, and all that are there count as old. */
const MOST_SERVICES = 1_000;

export class EndpointAges {
  readonly #now: () => number;
  /** By Service and port, then by endpoint: milliseconds; -Infinity: it was there when the thread first looked. */
  readonly #since = new Map<string, Map<string, number>>();

  /** @param now monotonic, milliseconds */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** The candidates with the weights that they have by now. All that could serve, and what is missing counts as new when it is back. */
  warmed(service: Service, port: ServicePort, candidates: readonly Candidate[], warmUp: WarmUp): readonly Candidate[] {
    const name = `${fullName(service)}:${port.port}`;
    const now = this.#now();
    const known = this.#since.get(name);
    if (known === undefined && this.#since.size >= MOST_SERVICES) this.#since.clear();
    const since = known ?? new Map<string, number>();
    this.#since.set(name, since);
    let isWarm = true;
    const weighed = candidates.map((candidate) => {
      const at = `${candidate.address} ${candidate.port}`;
      const from = since.get(at) ?? (known === undefined ? -Infinity : now);
      since.set(at, from);
      const share = shareOf(now - from, warmUp);
      if (share === 1) return candidate;
      isWarm = false;
      return { ...candidate, weight: candidate.weight * share };
    });
    if (since.size > candidates.length) {
      const there = new Set(candidates.map(({ address, port: at }) => `${address} ${at}`));
      for (const at of since.keys()) if (!there.has(at)) since.delete(at);
    }
    return isWarm ? candidates : weighed;
  }
}

/** As Envoy has it (envoy:docs/root/intro/arch_overview/upstream/load_balancing/slow_start.rst). */
export function shareOf(ageMs: number, { durationMs, minimumPercent, aggression }: WarmUp): number {
  if (ageMs >= durationMs) return 1;
  return Math.max(minimumPercent / 100, (Math.max(ageMs, 0) / durationMs) ** (1 / aggression));
}
