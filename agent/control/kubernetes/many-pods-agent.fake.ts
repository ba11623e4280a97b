// tests · a program: what an agent's main thread does with a cluster, measured. Sends its parent a `Measured` as soon as the cluster is in
// force, and again `changed` after each change.
//   fork("many-pods-agent.fake.ts", [port, certificate file, last good file])
import { readFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { MeshStore } from "../../mesh/store.ts";
import { collectGarbage } from "../../process/collect-garbage.ts";
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
  ...{ rootNamespace: "istio-system", honourIstioLabels: false },
};
const ca = readFileSync(certFile, "utf8");
const client = new ApiClient({ server: `https://127.0.0.1:${port}`, ca: () => ca, token: () => "token", client: null });
const mesh = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
const delay = monitorEventLoopDelay({ resolution: 5 });
delay.enable();
const begunMs = performance.now();
const ending = new AbortController();
const source = new KubernetesSource(
  { server: "many", settings, lastGoodFile },
  { ask: (path, options) => client.ask(path, options), wallMs: Date.now, collectGarbage, random: () => 0 },
);
const running = source.run((updates) => {
  mesh.apply(updates);
  const measured: Measured = {
    workloads: [...mesh.workloads()].length,
    fromLastGood: source.status().fromLastGood,
    afterMs: performance.now() - begunMs,
    peakBytes: process.resourceUsage().maxRSS * 1024,
    longestTurnMs: delay.max / 1e6,
  };
  process.send?.(measured);
}, ending.signal);
process.on("disconnect", async () => {
  ending.abort();
  await running;
  client.close();
});
