// What an alert about the source looks at.
import assert from "node:assert/strict";
import { test } from "node:test";
import { aWorkload } from "../observe/record.fake.ts";
import { sourceFamilies, sourceMetrics } from "./source-metrics.ts";

const values = (metrics: ReturnType<typeof sourceMetrics>): readonly string[] =>
  metrics
    .filter(({ family }) => family !== sourceFamilies.leftOut)
    .flatMap(({ family, samples }) =>
      samples.map(
        ({ labels, value }) => `${family.name}${labels.kind === undefined ? "" : ` ${labels.kind}`} ${value}`,
      ),
    );

test("a kind that cannot be read is 1, for as long as that lasts; files have no kinds", () => {
  const kinds = [
    { kind: "Pod", objects: 7, state: "watching", awaySince: "", why: "" },
    { kind: "Service", objects: 2, state: "away", awaySince: "2026-11-21T09:00:00.000Z", why: "HTTP status 403" },
  ] as const;
  assert.deepEqual(values(sourceMetrics({ state: "stale", problems: [], leftOut: [], kinds })), [
    "orlop_config_errors 0",
    ...["orlop_source_away Pod 0", "orlop_source_away Service 1"],
    ...["orlop_source_objects Pod 7", "orlop_source_objects Service 2"],
  ]);
  assert.deepEqual(values(sourceMetrics({ state: "synced", problems: [], leftOut: [], kinds: [] })), [
    "orlop_config_errors 0",
  ]);
});

test("pods that are left out are counted by what leaves them out, also when there are none", () => {
  const leftOut = (["sidecar", "sidecar", "host-network"] as const).map((reason) => ({
    ...{ workload: aWorkload({}), reason, because: "" },
  }));
  const metrics = sourceMetrics({ state: "synced", problems: [], leftOut, kinds: [] });
  assert.deepEqual(metrics.find(({ family }) => family === sourceFamilies.leftOut)?.samples, [
    { labels: { reason: "host-network" }, value: 1 },
    { labels: { reason: "sidecar" }, value: 2 },
    { labels: { reason: "sandbox" }, value: 0 },
  ]);
});
