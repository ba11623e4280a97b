// The demo as its users run it: twice, the first one killed in the middle. Nothing of either is left behind.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { cgroup2Mount } from "../../agent/cli/cluster-host.ts";
import { orlopMain } from "../../agent/cli/local-cluster.ts";

/** What clusters of anybody leave on this machine: files, cgroups, mounts, processes in such cgroups. */
function traces(): string[] {
  const found: string[] = [];
  if (existsSync("/run/orlop-box"))
    found.push(...readdirSync("/run/orlop-box").map((name) => `/run/orlop-box/${name}`));
  found.push(...readdirSync(cgroup2Mount()).filter((name) => name.startsWith("orlop-box-")));
  found.push(
    ...readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .filter((line) => line.includes("orlop-box")),
  );
  for (const pid of readdirSync("/proc")) {
    try {
      if (/^[0-9]+$/.test(pid) && readFileSync(`/proc/${pid}/cgroup`, "utf8").includes("/orlop-box-"))
        found.push(`pid ${pid}`);
    } catch {
      // It ended while we looked.
    }
  }
  return found;
}

test("orlop demo, killed in the middle and then run whole: all scenarios as expected, nothing left behind", async (t) => {
  const before = new Set(traces());
  const start = () => spawn(process.execPath, [orlopMain, "demo", "--json"], { stdio: ["ignore", "pipe", "pipe"] });
  const first = start();
  let firstText = "";
  while (!firstText.includes('"ok":')) {
    const [data] = await Promise.race([once(first.stdout, "data"), once(first, "exit").then(() => [""])]);
    if (String(data) === "") break;
    firstText += String(data);
  }
  const firstEnd = once(first, "exit");
  first.kill("SIGKILL");
  await firstEnd;

  const second = start();
  let out = "";
  let err = "";
  second.stdout.on("data", (data) => {
    out += String(data);
  });
  second.stderr.on("data", (data) => {
    err += String(data);
  });
  const [status] = await once(second, "close");
  const lines = out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  for (const line of lines) t.diagnostic(JSON.stringify(line));
  assert.equal(status, 0, err);
  const last = lines.at(-1);
  assert.equal(last?.asExpected, last?.scenarios);
  assert.deepEqual(
    traces().filter((one) => !before.has(one)),
    [],
  );
});
