import assert from "node:assert/strict";
import { test } from "node:test";
import { readOptions } from "./options.ts";
import { plan } from "./plan.ts";
import { scenarios } from "./scenarios/all.ts";
import { UsageError } from "./scenarios/scenario.ts";

test("what is not said has its default", () => {
  assert.deepEqual(readOptions([]), { json: false, list: false, seed: 0 });
  assert.deepEqual(readOptions(["--only", "bulk-1", "--peer", "nginx", "--json", "--pairs", "7", "--seconds", "0.5"]), {
    ...{ only: "bulk-1", peer: "nginx", json: true, list: false, pairs: 7, seconds: 0.5, seed: 0 },
  });
});

test("bad usage is told as such", () => {
  for (const args of [
    ["--pairs", "2"],
    ["--seconds", "x"],
    ["--peer", "nginx"],
    ["--nonsense"],
    ["extra"],
    ["--seed", "-1"],
  ])
    assert.throws(() => readOptions(args), UsageError, args.join(" "));
});

test("every scenario that an issue names is there, once", () => {
  const names = scenarios.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  const asked =
    "bulk-1 bulk-64 cpu-per-byte rr-1 rr-64 cpu-per-request churn-warm churn-cold p99-half-load idle-1000 " +
    "interactive-beside-bulk capture-connect same-node-bulk same-node-rtt same-node-connect policies-100k update-100k " +
    "bulk-8 rr-512 payload-64b payload-1m slow-reader idle-10000 workloads-100k services-100k enforce-100k agent-rss-100k " +
    "direct-outside direct-outside-bulk h2-abuse h2-abuse-p99 sever-10k";
  for (const name of asked.split(" ")) assert.ok(names.includes(name), name);
});

test("the plan holds every scenario against its own peer, and given binaries where they are asked for", () => {
  const rows = (environment: NodeJS.ProcessEnv): string[] =>
    plan(environment).map(({ scenario, peer }) => `${scenario.name} ${peer}`);
  const without = rows({});
  for (const { name, defaultPeer } of scenarios) assert.ok(without.includes(`${name} ${defaultPeer}`));
  assert.equal(new Set(without).size, without.length);
  const added = rows({ ZTUNNEL_BIN: "/x" }).filter((row) => !without.includes(row));
  assert.deepEqual(added, ["bulk-1 ztunnel", "rr-64 ztunnel", "cpu-per-request ztunnel", "churn-warm ztunnel"]);
});
