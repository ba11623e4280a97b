// 18 · any thread · of the endpoints of a Service, which are served worse than the others. Pure.
import type { SuccessRate } from "../mesh/traffic-policy.ts";

/** What an interval's requests have shown of an endpoint. */
export type SeenRate = { readonly total: number; readonly served: number };

/**
 * Envoy's success rate (envoy:docs/root/intro/arch_overview/upstream/outlier.rst, Success Rate): of the endpoints with enough requests, if they
 * are enough, those whose share of served requests is below the mean of all shares by more than `stdevFactor` standard deviations.
 */
export function servedWorse<T extends SeenRate>(
  endpoints: readonly T[],
  { minimumHosts, requestVolume, stdevFactor }: SuccessRate,
): readonly T[] {
  const counted = endpoints.filter(({ total }) => total > 0 && total >= requestVolume);
  if (counted.length === 0 || counted.length < minimumHosts) return [];
  const rates = counted.map(rateOf);
  const mean = rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
  const variance = rates.reduce((sum, rate) => sum + (rate - mean) ** 2, 0) / rates.length;
  const lowest = mean - stdevFactor * Math.sqrt(variance);
  return counted.filter((endpoint) => rateOf(endpoint) < lowest);
}

const rateOf = ({ total, served }: SeenRate): number => served / total;
