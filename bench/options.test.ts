import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { readOptions } from "./options.ts";
import { plan } from "./plan.ts";
import { scenarios } from "./scenarios/all.ts";
import { UsageError } from "./scenarios/scenario.ts";
import type { World } from "./world/world.ts";

const refuse = (): never => assert.fail("the scenario has begun to build its world");
const untouched: World = { congestionControl: "", plain: refuse, mesh: refuse, certificates: refuse, close: refuse };

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

test("the README has a row for each scenario, and no other", () => {
  const page = readFileSync(new URL("README.md", import.meta.url), "utf8");
  const [, table = ""] = page.split("\n| row | answers |\n");
  const [rows = ""] = table.split("\n\n");
  const written = rows.split("\n").flatMap((row) => [...(row.split("|")[1] ?? "").matchAll(/`([^`]+)`/g)]);
  assert.deepEqual(written.map(([, name]) => name).sort(), scenarios.map(({ name }) => name).sort());
});

test("every scenario can be asked for by its name, and refuses a peer that it does not know before it starts anything", async () => {
  const settings = { windowSeconds: 1, warmupSeconds: 0, seed: 0 };
  for (const { name, open } of scenarios) {
    assert.equal(readOptions(["--only", name]).only, name);
    await assert.rejects(async () => open(untouched, "nobody", settings), UsageError, name);
  }
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
