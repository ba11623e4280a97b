// bench · an agent's source of a cluster with 100,000 pods, against one with a hundred: from the first byte of the API server until the
// mesh is in force on the main thread and on one data thread, the most memory meanwhile, and one change after it.
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Measured } from "../../agent/control/kubernetes/many-pods-agent.fake.ts";
import { manyPodsAgent } from "../../agent/control/kubernetes/many-pods-program.fake.ts";
import { memoryEnvironment } from "../../agent/process/memory-environment.ts";
import { agentFlags } from "../../agent/process/run.ts";
import { version } from "../../agent/process/version.ts";
import type { Figures } from "../figures/pairs.ts";
import { quantileOf } from "../figures/statistics.ts";
import { makeApiCertificate } from "../world/certificates.ts";
import { type Scenario, unknownPeer } from "./scenario.ts";

const MANY = 100_000;
const FEW = 100;
const SELF = `orlop-${FEW}`;
const CHANGES = 20;

const serverProgram = fileURLToPath(new URL("../../agent/control/kubernetes/many-pods.fake.ts", import.meta.url));

/** A server and an agent of their own, so that nothing of an earlier measurement is in memory. */
async function measure(pods: number): Promise<Figures> {
  const folder = mkdtempSync(path.join(tmpdir(), "orlop-bench-pods-"));
  const { certificate, key } = makeApiCertificate(folder);
  const server = fork(serverProgram, [String(pods), "stream", key, certificate]);
  try {
    const [port] = (await once(server, "message")) as [number];
    const argv = [String(port), certificate, path.join(folder, "last-good.jsonl")];
    const env = { ...process.env, ...memoryEnvironment };
    const agent = fork(manyPodsAgent(), argv, { execArgv: [...agentFlags], env });
    try {
      const [first] = (await once(agent, "message")) as [Measured];
      if (first.workloads !== pods) throw new Error(`${first.workloads} of ${pods} pods were read`);
      const changeMs: number[] = [];
      for (let nth = 0; nth < CHANGES; nth++) {
        const began = performance.now();
        server.send(nth);
        await once(agent, "message");
        changeMs.push(performance.now() - began);
      }
      agent.disconnect();
      await once(agent, "exit");
      return {
        ...{ mb: first.peakBytes / 1024 / 1024, syncMs: first.afterMs },
        ...{ changeP50Ms: quantileOf(changeMs, 0.5), changeP99Ms: quantileOf(changeMs, 0.99) },
      };
    } finally {
      agent.kill("SIGKILL");
    }
  } finally {
    server.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

export const kubernetesScenarios: readonly Scenario[] = [
  {
    name: "pods-100k",
    figure: `an API server with ${MANY} pods: the most memory of an agent until all are in force, one data thread`,
    ...{ unit: "MB", better: "less", key: "mb", defaultPeer: SELF, targets: {}, series: "pods", pairs: 3 },
    limits: { mb: 400, syncMs: 30_000, changeP99Ms: 50 },
    open: async (_world, peer) => {
      if (peer !== SELF) throw unknownPeer(peer, [SELF]);
      return {
        ours: { name: "orlop", measure: () => measure(MANY) },
        peer: { name: SELF, measure: () => measure(FEW) },
        versions: { orlop: `Orlop ${version}, Node ${process.version}` },
        close: async () => {},
      };
    },
  },
];
