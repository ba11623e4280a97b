// The demo as its users run it: twice, the first one killed in the middle. Nothing of either is left behind.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { until } from "../../demo/mesh/mesh-run.ts";
import { cgroup2Mount } from "../box/host.ts";

const demoMain = fileURLToPath(new URL("../../demo/main.ts", import.meta.url));

/** What the cluster `id` has on this machine: files, cgroups, mounts, processes in its cgroup. Others may run beside. */
function traces(id: string): string[] {
  const found: string[] = [];
  const files = `/run/orlop-box/${id}`;
  if (existsSync(files)) found.push(files);
  found.push(...readdirSync(cgroup2Mount()).filter((name) => name === `orlop-box-${id}`));
  found.push(
    ...readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .filter((line) => line.includes(id)),
  );
  for (const pid of readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name))) {
    try {
      // What was killed and nobody waited for yet is no process any more: its cgroup is gone already.
      const zombie = /^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
      if (!zombie && readFileSync(`/proc/${pid}/cgroup`, "utf8").includes(`/orlop-box-${id}`)) found.push(`pid ${pid}`);
    } catch {
      // It ended while we looked.
    }
  }
  return found;
}

type Demo = { readonly child: ChildProcess; readonly out: () => string; readonly err: () => string };

function startDemo(): Demo {
  const child = spawn(process.execPath, [demoMain, "--json"], { stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let err = "";
  child.stdout.on("data", (data) => {
    out += String(data);
  });
  child.stderr.on("data", (data) => {
    err += String(data);
  });
  return { child, out: () => out, err: () => err };
}

function idOf(demo: Demo): string {
  const id = /cluster ([0-9a-f]{8}):/.exec(demo.out())?.[1];
  assert.ok(id !== undefined, `the demo names its cluster: ${demo.out()}${demo.err()}`);
  return id;
}

test("the demo, killed in the middle and then run whole: all scenarios as expected, nothing left behind", async (t) => {
  const first = startDemo();
  await until("a first scenario", 60_000, () =>
    first.out().includes('"ok":') || first.child.exitCode !== null ? true : undefined,
  );
  const firstEnd = once(first.child, "exit");
  first.child.kill("SIGKILL");
  await firstEnd;
  const killed = idOf(first);

  const second = startDemo();
  const [status] = await once(second.child, "close");
  const lines = second
    .out()
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  for (const line of lines) t.diagnostic(JSON.stringify(line));
  assert.equal(status, 0, second.err());
  const last = lines.at(-1);
  assert.equal(last?.asExpected, last?.scenarios);
  assert.deepEqual([...traces(killed), ...traces(idOf(second))], []);
});
