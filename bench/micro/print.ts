// bench · `node bench/micro/print.ts [SEED]`: every micro-benchmark once, as one JSON object of microseconds.
import { decider } from "./decide.ts";
import { decodeTimes } from "./decode.ts";
import { requestDecider, shapes } from "./l7-decision.ts";
import { recordTimes } from "./l7-record.ts";
import { routerOfServices, routerOfWorkloads } from "./route.ts";
import { updater } from "./update.ts";

const seed = Number(process.argv[2] ?? 0);
const sizes = [10, 100, 1_000, 10_000, 100_000];
const results = {
  seed,
  decide: sizes.map((policies) => ({ policies, ...decider(policies, seed).measure() })),
  routeOverWorkloads: sizes.map((workloads) => ({ workloads, ...routerOfWorkloads(workloads, seed).measure() })),
  routeOverServices: sizes.map((services) => ({ services, ...routerOfServices(services, seed).measure() })),
  update: sizes.map((workloads) => {
    const changed = updater(workloads, seed);
    return { workloads, heapMb: Math.round(changed.heapMb), ...changed.measure() };
  }),
  decode: decodeTimes(),
  l7Record: recordTimes(seed),
  l7Decision: Object.entries(shapes).flatMap(([rulesDifferBy, shape]) =>
    [10, 1_000].map((rules) => ({ rulesDifferBy, rules, ...requestDecider(shape, rules, seed).measure() })),
  ),
};
process.stdout.write(`${JSON.stringify(results, null, 2)}\n`);
