// The agent's user is changed on a node that runs, as an upgrade from user 65534 does: whichever of keeper and agent is replaced first, no
// connection is cut before the old agent is ended, what policy refuses stays refused, and the next agent has what the old agent kept.
import assert from "node:assert/strict";
import { chownSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { call, startPing } from "../../demo/app/roles.ts";
import { demoNodes, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { pidOf, readiness, until, view } from "../../demo/mesh/mesh-run.ts";
import { AGENT_UID, type Node } from "../box/cluster.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

const FORMER = 65_534;
const asBefore = `  agentUid: ${FORMER}\n  agentGid: ${FORMER}\n`;
let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes: demoNodes, nodeConfig: `  dataThreads: 1\n${asBefore}` }, (cluster) => {
    // As an agent of that user has it; the first agent of the new user makes it its own.
    chownSync(path.dirname(cluster.caFile), FORMER, FORMER);
    return meshText(cluster, initialState);
  });
});
after(() => journey?.close());

const uidOf = (pid: number): number =>
  Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? -1);

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false; // Gone: that is the answer.
  }
}

/** Agents of a node, by their user. */
function agentsOf(node: Node, uid: number): number[] {
  const pids = readFileSync(path.join(node.place.cgroup, "cgroup.procs"), "utf8").trim().split("\n").map(Number);
  return pids.filter((pid) => {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      return words.includes("agent") && uidOf(pid) === uid;
    } catch {
      return false; // It ended while we looked.
    }
  });
}

function changeUser(node: Node): void {
  const text = readFileSync(node.configFile, "utf8");
  assert.ok(text.includes(asBefore));
  writeFileSync(node.configFile, text.replace(asBefore, ""));
}

/** SIGTERM to the keeper alone; resolves when the next keeper serves, with the new group. */
async function replaceKeeper(node: Node): Promise<void> {
  const pid = pidOf(node, "keeper");
  assert.ok(pid !== undefined && pid > 1);
  process.kill(pid, "SIGTERM");
  const serving = `${node.runDir}-keeper/serving`;
  await until(`the next keeper of ${node.name}`, 30_000, () =>
    !alive(pid) && existsSync(serving) && Number(readFileSync(serving, "utf8")) !== pid ? true : undefined,
  );
  assert.equal(statSync(`${node.runDir}-keeper/keeper.sock`).gid, AGENT_UID);
}

/** What is allowed is answered, and a caller from outside the mesh is not. */
async function assertServed(): Promise<void> {
  const { cluster } = journey;
  const vault = { host: cluster.pod("vault").ip4, port: 8080 };
  const [asked, outside] = await Promise.all([call(cluster.pod("web"), vault), call(cluster.outside, vault)]);
  assert.equal(asked.reply?.pod, "vault", JSON.stringify(asked));
  assert.equal(outside.reply, undefined, "plaintext from outside was answered by a STRICT pod");
}

/** The old agent is killed: the next agent, of the new user, serves, with what the old agent kept. */
async function killOld(node: Node, old: number): Promise<void> {
  process.kill(old, "SIGKILL");
  await until(`the next agent of ${node.name}`, 30_000, async () => {
    if (alive(old) || (await readiness(node)) !== "ready") return undefined;
    const { captured, wanted } = (await view(node, "status")).pods;
    return captured === wanted ? true : undefined;
  });
  assert.deepEqual(agentsOf(node, FORMER), []);
  assert.equal(agentsOf(node, AGENT_UID).length, 1);
  for (const name of [
    "last-good.json",
    "last-good",
    ...readdirSync(path.join(node.stateDir, "last-good")).map((text) => `last-good/${text}`),
  ])
    assert.equal(statSync(path.join(node.stateDir, name)).uid, AGENT_UID, name);
  await assertServed();
}

/** The user is another in the node's configuration from here on; `kept` is a connection that stays. */
async function changed(name: string) {
  const { cluster } = journey;
  const node = cluster.node(name);
  const [old = 0] = agentsOf(node, FORMER);
  assert.ok(old > 1);
  const kept = await startPing(cluster.pod("web"), { host: cluster.pod("vault").ip4, port: 8080 }, 20);
  changeUser(node);
  return { node, old, kept };
}

test("the keeper first: the old agent goes on until it is ended", async () => {
  const { node, old, kept } = await changed("node-b");
  await replaceKeeper(node);
  await assertServed();
  assert.ok(alive(old));
  const { replies } = await kept.finish();
  assert.ok(replies > 0);
  await killOld(node, old);
});

test("the agent first: the next agent waits for a keeper of its own kind, and the old agent serves meanwhile", async () => {
  const { node, old, kept } = await changed("node-a");
  process.kill(old, "SIGTERM");
  await until("the next agent", 30_000, () => (agentsOf(node, AGENT_UID).length > 0 ? true : undefined));
  await assertServed();
  await replaceKeeper(node);
  await assertServed();
  assert.ok(alive(old));
  const { replies } = await kept.finish();
  assert.ok(replies > 0);
  await killOld(node, old);
});
