// main thread · what limits have admitted and refused, by LimitPolicy, out of the buckets that the data threads share.
import { fullName } from "../mesh/full-name.ts";
import { type Metric, metric } from "../observe/metric.ts";
import type { LimitBuffers } from "./limit-buffers.ts";

export const limitFamilies = {
  requests: {
    name: "orlop_limit_requests_total",
    type: "counter",
    unit: "requests",
    labels: ["policy", "mode", "outcome"],
    help: "Requests that a LimitPolicy counted, by what it said of them: admitted, or over; in mode shadow both go on",
  },
  overflow: {
    name: "orlop_limit_overflow_total",
    type: "counter",
    unit: "requests",
    labels: ["policy"],
    help: "Requests whose key found no bucket of its own: they shared the bucket that the policy has for all such keys",
  },
} as const;

/** Authors of policies choose their names. Of more policies the counts go to "other". */
const MOST_POLICIES = 500;

export function limitMetrics(limits: Pick<LimitBuffers, "counted">): readonly Metric[] {
  const requests = new Map<
    string,
    { readonly policy: string; readonly mode: string; admitted: number; over: number }
  >();
  const overflowed = new Map<string, number>();
  let policies = 0;
  for (const { policy, counts } of limits.counted()) {
    policies += 1;
    const name = policies <= MOST_POLICIES ? fullName(policy) : "other";
    const row = requests.get(`${name} ${policy.mode}`) ?? { policy: name, mode: policy.mode, admitted: 0, over: 0 };
    row.admitted += counts.admitted;
    row.over += counts.limited;
    requests.set(`${name} ${policy.mode}`, row);
    if (counts.overflowed > 0) overflowed.set(name, (overflowed.get(name) ?? 0) + counts.overflowed);
  }
  return [
    metric(
      limitFamilies.requests,
      [...requests.values()].flatMap(({ policy, mode, admitted, over }) => [
        { labels: { policy, mode, outcome: "admitted" }, value: admitted },
        { labels: { policy, mode, outcome: "over" }, value: over },
      ]),
    ),
    metric(
      limitFamilies.overflow,
      [...overflowed].map(([policy, value]) => ({ labels: { policy }, value })),
    ),
  ];
}
