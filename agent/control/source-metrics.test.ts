// What an alert about the source looks at.
import assert from "node:assert/strict";
import { test } from "node:test";
import { sourceMetrics } from "./source-metrics.ts";

const values = (metrics: ReturnType<typeof sourceMetrics>): readonly string[] =>
  metrics.flatMap(({ family, samples }) =>
    samples.map(({ labels, value }) => `${family.name}${labels.kind === undefined ? "" : ` ${labels.kind}`} ${value}`),
  );

test("a kind that cannot be read is 1, for as long as that lasts; files have no kinds", () => {
  const kinds = [
    { kind: "Pod", objects: 7, state: "watching", awaySince: "", why: "" },
    { kind: "Service", objects: 2, state: "away", awaySince: "2026-11-21T09:00:00.000Z", why: "HTTP status 403" },
  ] as const;
  assert.deepEqual(values(sourceMetrics({ state: "stale", problems: [], kinds })), [
    "orlop_config_errors 0",
    ...["orlop_source_away Pod 0", "orlop_source_away Service 1"],
    ...["orlop_source_objects Pod 7", "orlop_source_objects Service 2"],
  ]);
  assert.deepEqual(values(sourceMetrics({ state: "synced", problems: [], kinds: [] })), ["orlop_config_errors 0"]);
});
