// The agent dies, restarts, hangs, while connections are made: nobody is refused, nothing leaves in
// the clear.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { call, startChurn } from "../../demo/app/roles.ts";
import { demoNodes, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { readiness, until } from "../../demo/mesh/mesh-run.ts";
import { asCaptured, startCapture } from "../../demo/wire/capture.ts";
import { readWire } from "../../demo/wire/wire.ts";
import type { Node } from "../box/cluster.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

const PARALLEL = 8;
const ONCE = 8084;
const now = (): number => performance.timeOrigin + performance.now();
let journey: Journey;
before(async () => {
  const nodeConfig = "  dataThreads: 1\n  heartbeatLimitMs: 3000\n";
  journey = await startJourney({ nodes: demoNodes, nodeConfig }, (cluster) => meshText(cluster, initialState));
});
after(() => journey?.close());

function ended(pid: number): boolean {
  try {
    return /^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return true; // Waited for already.
  }
}

/** The agent that came last. */
const servingPid = (node: Node): number => Number(readFileSync(path.join(node.runDir, "agent.pid"), "utf8"));

type Away = { readonly from: number; readonly to: number };

/** Ends the node's agent with `signal`; resolves when another is ready. */
async function replaceAgent(node: Node, signal: "SIGKILL" | "SIGTERM"): Promise<Away> {
  const pid = servingPid(node);
  const from = now();
  process.kill(pid, signal);
  if (signal === "SIGKILL") await until(`the end of agent ${pid}`, 30_000, () => (ended(pid) ? true : undefined));
  const to = now();
  // After SIGTERM the old agent may live on for what it has: the agent that is ready must be its successor.
  await until(`readiness of ${node.name}`, 30_000, async () =>
    servingPid(node) !== pid && (await readiness(node)) === "ready" ? true : undefined,
  );
  return { from, to };
}

async function underLoad(signal: "SIGKILL" | "SIGTERM", times: number): Promise<void> {
  const { cluster } = journey;
  const secret = `under ${signal}`;
  const capture = await startCapture(cluster);
  const churn = startChurn(cluster.pod("web"), { host: cluster.pod("vault").ip4, port: ONCE }, PARALLEL, secret);
  const away: Away[] = [];
  for (let time = 0; time < times; time += 1) {
    for (const node of cluster.nodes) {
      away.push(await replaceAgent(node, signal));
      await sleep(300);
    }
  }
  const result = await churn.finish();
  const pods = cluster.nodes.flatMap((node) => node.pods).filter((pod) => pod.name !== "legacy");
  const addresses = new Set(pods.flatMap((pod) => [asCaptured(pod.ip4), asCaptured(pod.ip6)]));
  readWire(await capture.stop(), addresses, [secret]);
  assert.ok(result.answered > 100, JSON.stringify(result));
  assert.deepEqual([result.refused, result.timedOut, result.other], [0, 0, {}], JSON.stringify(result));
  // A killed agent takes down what it carried; after SIGTERM it finishes that first.
  if (signal === "SIGTERM") assert.equal(result.cut, 0, JSON.stringify(result));
  const notOpen = result.cutBegan.filter((began, at) => {
    const endedAt = began + (result.cutAfterMs[at] ?? 0);
    return !away.some(({ from, to }) => began <= to && endedAt >= from);
  });
  assert.deepEqual(notOpen, [], "a connection was cut that was not open when an agent was killed");
}

describe("an agent that goes away", () => {
  test("killed, several times on both nodes: no connection refused, none cut that began later, no plaintext", () =>
    underLoad("SIGKILL", 2));
  test("told to end: the same", () => underLoad("SIGTERM", 1));
});

describe("an agent that hangs", () => {
  test("STRICT is refused, not passed and not held for ever; it serves again when it wakes", async () => {
    const { cluster } = journey;
    const pid = servingPid(cluster.node("node-a"));
    const toVault = () => call(cluster.pod("web"), { host: cluster.pod("vault").ip4, port: 8080 }, "while hung");
    const capture = await startCapture(cluster);
    process.kill(pid, "SIGSTOP");
    try {
      // The connection that meets the held listener waits; once the heartbeat is stale the kernel refuses.
      await until("a refusal", 15_000, async () => ((await toVault()).error === "ECONNREFUSED" ? true : undefined));
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await until("an answer", 15_000, async () => ((await toVault()).reply?.pod === "vault" ? true : undefined));
    const addresses = new Set(["web", "vault"].flatMap((name) => [asCaptured(cluster.pod(name).ip4)]));
    readWire(await capture.stop(), addresses, ["while hung"]);
  });
});
