// Build time · loads every module of the long-running programs once, with the flags that they run with, so that Node keeps them
// in NODE_COMPILE_CACHE without types and compiled. Without that cache each thread of the agent loads the type stripper, which
// takes 20 MB of resident memory.
import { spawnSync } from "node:child_process";
import { flushCompileCache } from "node:module";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { agentFlags, keeperFlags } from "../agent/process/run.ts";
import { newSharedState } from "../agent/traffic/shared-state.ts";

const programs = {
  agent: { flags: agentFlags, files: ["config/load.ts", "process/first-acts.ts", "node/agent.ts", "identity/csr.ts"] },
  keeper: { flags: keeperFlags, files: ["config/load.ts", "process/first-acts.ts", "keeper/keeper.ts"] },
} as const;

/** Each data thread loads its modules itself. */
async function loadDataThread(): Promise<void> {
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
  const worker = new Worker(new URL("../agent/threads/data-thread.ts", import.meta.url), { workerData });
  await new Promise((resolve) => worker.once("message", resolve));
  worker.postMessage({ op: "close" });
  await new Promise((resolve) => worker.once("exit", resolve));
}

const [, self = "", name] = process.argv;
if (name === "agent" || name === "keeper") {
  for (const file of programs[name].files) await import(`../agent/${file}`);
  if (name === "agent") await loadDataThread();
  flushCompileCache();
} else {
  for (const [program, { flags }] of Object.entries(programs)) {
    const main = fileURLToPath(new URL("../agent/main.ts", import.meta.url));
    for (const script of [
      [self, program],
      [main, "--help"],
    ]) {
      const done = spawnSync(process.execPath, [...flags, ...script], { stdio: ["ignore", "ignore", "inherit"] });
      if (done.status !== 0) throw new Error(`${script.join(" ")} ended with ${done.status}`);
    }
  }
}
