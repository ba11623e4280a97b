// Build time · loads every module of the long-running programs once, with the flags that they run with, so that Node keeps them
// in NODE_COMPILE_CACHE without types and compiled. Without that cache each thread of the agent loads the type stripper, which
// takes 20 MB of resident memory.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { flushCompileCache } from "node:module";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";

/** In an image the agent is JavaScript (.ci/strip.ts). */
const ending = existsSync(new URL("../agent/main.js", import.meta.url)) ? "js" : "ts";
const moduleOf = (name: string): string => new URL(`../agent/${name}.${ending}`, import.meta.url).href;
const { agentFlags, keeperFlags } = (await import(moduleOf("process/run"))) as typeof import("../agent/process/run.ts");

const programs = {
  agent: { flags: agentFlags, files: ["config/load", "process/first-acts", "node/agent", "identity/csr"] },
  keeper: { flags: keeperFlags, files: ["config/load", "process/first-acts", "keeper/keeper"] },
} as const;

/** Each data thread loads its modules itself. */
async function loadDataThread(): Promise<void> {
  const { newSharedState } = (await import(
    moduleOf("traffic/shared-state")
  )) as typeof import("../agent/traffic/shared-state.ts");
  const workerData = {
    index: 0,
    trustDomain: "cluster.local",
    rootNamespace: "istio-system",
    accessLog: "off",
    loggedRequests: "errors",
    unreadMs: 0,
    ticks: new SharedArrayBuffer(4),
    shared: newSharedState(1),
  };
  const worker = new Worker(new URL(moduleOf("threads/data-thread")), { workerData });
  await new Promise((resolve) => worker.once("message", resolve));
  worker.postMessage({ op: "close" });
  await new Promise((resolve) => worker.once("exit", resolve));
}

const [, self = "", name] = process.argv;
if (name === "agent" || name === "keeper") {
  for (const file of programs[name].files) await import(moduleOf(file));
  if (name === "agent") await loadDataThread();
  flushCompileCache();
} else {
  for (const [program, { flags }] of Object.entries(programs)) {
    const main = fileURLToPath(moduleOf("main"));
    for (const script of [
      [self, program],
      [main, "--help"],
    ]) {
      const done = spawnSync(process.execPath, [...flags, ...script], { stdio: ["ignore", "ignore", "inherit"] });
      if (done.status !== 0) throw new Error(`${script.join(" ")} ended with ${done.status}`);
    }
  }
}
