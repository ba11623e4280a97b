// tests, bench · a program: what an agent does with a cluster, measured: its main thread and one data thread. Sends its parent a `Measured`
// as soon as the cluster is in force in both, and again after each change.
//   fork("many-pods-agent.fake.ts", [port, certificate file, last good file])
import { readFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { MeshStore } from "../../mesh/store.ts";
import { collectGarbage } from "../../process/collect-garbage.ts";
import { DataThreads } from "../../threads/data-threads.ts";
import { ApiClient } from "./api-client.ts";
import { KubernetesSource } from "./source.ts";

export type Measured = {
  readonly workloads: number;
  readonly fromLastGood: boolean;
  readonly afterMs: number;
  /** Resident memory: the most of it so far. */
  readonly peakBytes: number;
  /** The longest time for which the loop did nothing else. */
  readonly longestTurnMs: number;
};

const [port = "", certFile = "", lastGoodFile = ""] = process.argv.slice(2);
const settings = {
  ...{ node: "node-1", cluster: "c1", network: "", trustDomain: "cluster.local", clusterDomain: "cluster.local" },
  ...{ rootNamespace: "istio-system", honourIstioLabels: false, runtimeClasses: [] },
};
const ca = readFileSync(certFile, "utf8");
const client = new ApiClient({ server: `https://127.0.0.1:${port}`, ca: () => ca, token: () => "token", client: null });
const mesh = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
const delay = monitorEventLoopDelay({ resolution: 5 });
delay.enable();
const threads = new DataThreads({
  count: 1,
  thread: {
    trustDomain: "cluster.local",
    rootNamespace: "istio-system",
    accessLog: "off",
    loggedRequests: "errors",
    unreadMs: 0,
  },
  duplicate: (fd) => fd,
  died: (_thread, error) => {
    throw error;
  },
});
await threads.start();
const begunMs = performance.now();
const ending = new AbortController();
const source = new KubernetesSource(
  { server: "many", settings, lastGoodFile },
  {
    ...{ ask: (path, options) => client.ask(path, options), wallMs: Date.now, random: () => 0 },
    collectGarbage: (last) => collectGarbage(last ? "last-resort" : "regular"),
  },
);
let isFirst = true;
const running = source.run((updates) => {
  mesh.apply(updates);
  threads.tell({ op: "updates", updates, more: false });
  void measure(source.status().fromLastGood);
}, ending.signal);

async function measure(fromLastGood: boolean): Promise<void> {
  // The thread answers when it has applied what came before; without an answer for a second the list is empty.
  while ((await threads.report(false)).length === 0);
  const measured: Measured = {
    workloads: [...mesh.workloads()].length,
    fromLastGood,
    afterMs: performance.now() - begunMs,
    peakBytes: process.resourceUsage().maxRSS * 1024,
    longestTurnMs: delay.max / 1e6,
  };
  // As the agent does before its first heartbeat.
  if (isFirst) collectGarbage();
  isFirst = false;
  process.send?.(measured);
}

process.on("disconnect", async () => {
  ending.abort();
  await running;
  client.close();
  await threads.close();
});
