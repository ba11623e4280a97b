// A planned restart cuts nobody: the old agent finishes what it has while the next agent takes what is new.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { call, startPing } from "../../demo/app/roles.ts";
import { demoNodes, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { until, view } from "../../demo/mesh/mesh-run.ts";
import type { Node } from "../box/cluster.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes: demoNodes, nodeConfig: "  dataThreads: 1\n" }, (cluster) =>
    meshText(cluster, initialState),
  );
});
after(() => journey?.close());

/** The agent that holds the node. */
const holderOf = (node: Node): number => Number(readFileSync(path.join(node.runDir, "agent.pid"), "utf8"));

/** SIGTERM to the node's agent; resolves when its successor answers at the admin socket. */
async function succeed(node: Node): Promise<number> {
  const pid = holderOf(node);
  assert.ok(pid > 1, "a signal to 0 would reach this test");
  process.kill(pid, "SIGTERM");
  await until(`a successor on ${node.name}`, 30_000, async () => {
    // Until the hand-over it is the old agent that answers.
    if (holderOf(node) === pid) return undefined;
    const status = await view(node, "status");
    return status.uptimeSeconds < 30 && status.pending.length === 0 && alive(pid) ? true : undefined;
  });
  return pid;
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false; // Gone: that is the answer.
  }
}

test("connections live through the planned restart of both agents, and policy still ends them", async () => {
  const { cluster } = journey;
  const web = cluster.pod("web");
  const vault = { host: cluster.pod("vault").ip4, port: 8080 };
  const kept = await startPing(web, vault, 20, "kept");
  const ended = await startPing(web, vault, 20, "ended by policy");
  const old = [await succeed(cluster.node("node-a")), await succeed(cluster.node("node-b"))];
  // What is new goes through the new agents, what is old through the old.
  const fresh = await call(web, vault, "new");
  assert.equal(fresh.reply?.pod, "vault", JSON.stringify(fresh));
  assert.ok(old.every(alive), "the old agents serve on");
  const { replies } = await kept.finish();
  assert.ok(replies > 20, `${replies} answers on the connection that was kept`);
  // The old agents follow the mesh: a policy still ends what they serve, and then they have nothing left to do.
  cluster.writeMesh(meshText(cluster, { ...initialState, vaultCallers: ["nobody"] }));
  await ended.dead(15_000);
  for (const pid of old) await until(`the end of agent ${pid}`, 15_000, () => (alive(pid) ? undefined : true));
});
