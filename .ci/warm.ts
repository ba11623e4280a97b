// Build time · loads every module of the long-running programs once, so that Node keeps them stripped of their types and
// compiled (NODE_COMPILE_CACHE). Without it each thread of the agent loads the type stripper: 20 MB resident apiece.
import { flushCompileCache } from "node:module";
import { Worker } from "node:worker_threads";

const programs = ["agent.ts", "keeper/keeper.ts", "config.ts", "run.ts", "identity/csr.ts", "cli/commands.ts"];
for (const file of programs) await import(`../agent/${file}`);
// Data threads load the same files through their own loader; this one ends at once because it is given no port it knows.
const worker = new Worker(new URL("../agent/data-thread.ts", import.meta.url), {
  workerData: {
    index: 0,
    trustDomain: "cluster.local",
    rootNamespace: "istio-system",
    accessLog: "off",
    ticks: new SharedArrayBuffer(4),
  },
});
await new Promise((resolve) => worker.once("message", resolve));
worker.postMessage({ op: "close" });
await new Promise((resolve) => worker.once("exit", resolve));
flushCompileCache();
