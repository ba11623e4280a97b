// Agents are replaced while the machine is busy: no call is refused or cut, nothing leaves in the clear, and the heartbeat is never
// late. A next agent that dies at the hand-over gives the node back, and a keeper that dies loses nothing. `make soak` does the same with the large counts.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { watch } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { call, startChurn } from "../../demo/app/roles.ts";
import { demoNodes, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { pidOf, readiness, until, view } from "../../demo/mesh/mesh-run.ts";
import { asCaptured, startCapture } from "../../demo/wire/capture.ts";
import { readWire } from "../../demo/wire/wire.ts";
import type { Node } from "../box/cluster.ts";
import { startBusy } from "../support/busy.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

const soaks = process.env.ORLOP_SOAK === "1";
const REPLACEMENTS = soaks ? 50 : 5;
const CALLS = soaks ? 10_000 : 1_000;
/** Replacements until so many calls were made, at most. */
const MOST_REPLACEMENTS = 4 * REPLACEMENTS;
const LOAD = 16;
/** Next agents that serve before the signal reaches them: two processes of a busy machine race. */
const MOST_TRIES = 20;
const PARALLEL = 4;
const ONCE = 8084;
const DEADLINE_MS = 60_000;
const secret = "while agents are replaced";
let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes: demoNodes, nodeConfig: "  dataThreads: 1\n" }, (cluster) =>
    meshText(cluster, initialState),
  );
});
after(() => journey?.close());

/** The agent that holds the node. */
function holderOf(node: Node): number {
  const pid = Number(readFileSync(path.join(node.runDir, "agent.pid"), "utf8"));
  assert.ok(pid > 1, "a signal to 0 would reach this test");
  return pid;
}

function ended(pid: number): boolean {
  try {
    return /^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return true; // Waited for already.
  }
}

/** Resolves when another agent holds the node and is ready. */
async function replacementOf(node: Node, pid: number): Promise<void> {
  await until(`another agent on ${node.name}`, DEADLINE_MS, async () =>
    holderOf(node) !== pid && (await readiness(node)) === "ready" ? true : undefined,
  );
  // Nothing that it has lasts, so it ends once it accepts nothing more.
  await until(`the end of agent ${pid}`, DEADLINE_MS, () => (ended(pid) ? true : undefined));
}

/** Resolves with the agent that holds the node next, as soon as it says so: a look from time to time may come when it serves already. */
async function nextHolder(node: Node, old: number): Promise<number> {
  for await (const _ of watch(node.runDir, { signal: AbortSignal.timeout(DEADLINE_MS) })) {
    const pid = holderOf(node);
    if (pid !== old) return pid;
  }
  return assert.fail("the folder is watched until the next agent comes");
}

/**
 * Ends the node's agent and kills the next agent at the hand-over. Resolves to the pid of the former, which holds the node again; 0: it had ended
 * by then, since the next agent had everything already, and a third holds the node.
 */
async function killedAtHandOver(node: Node): Promise<number> {
  const old = holderOf(node);
  const coming = nextHolder(node, old);
  process.kill(old, "SIGTERM");
  const next = await coming;
  process.kill(next, "SIGKILL");
  const isBack = await until("the old agent holds the node again, or has ended", DEADLINE_MS, () =>
    holderOf(node) === old ? true : ended(old) ? false : undefined,
  );
  assert.ok(ended(next));
  if (isBack) return old;
  await replacementOf(node, next);
  return 0;
}

const callVault = () => {
  const { cluster } = journey;
  return startChurn(cluster.pod("web"), { host: cluster.pod("vault").ip4, port: ONCE }, PARALLEL, secret);
};

/** What `orlop run` and its programs wrote. */
const saidBy = (node: Node): string => journey.programs.get(node.name)?.stderr ?? "";

test(`${REPLACEMENTS} replacements at load ${LOAD}: of ${CALLS} calls none is refused or cut, and none is readable`, async (t) => {
  const { cluster } = journey;
  const capture = await startCapture(cluster);
  const stopBusy = startBusy(LOAD);
  const total = { attempted: 0, answered: 0, refused: 0, cut: 0, timedOut: 0, slowestMs: 0 };
  let replaced = 0;
  try {
    while (replaced < REPLACEMENTS || total.answered < CALLS) {
      assert.ok(replaced < MOST_REPLACEMENTS, `${total.answered} calls in ${replaced} replacements`);
      const node = cluster.nodes[replaced % cluster.nodes.length] ?? assert.fail("a cluster has nodes");
      const churn = callVault();
      const pid = holderOf(node);
      process.kill(pid, "SIGTERM");
      await replacementOf(node, pid);
      const { cutBegan: _when, cutAfterMs: _after, other, ...result } = await churn.finish();
      assert.deepEqual(other, {});
      for (const name of ["attempted", "answered", "refused", "cut", "timedOut"] as const) total[name] += result[name];
      total.slowestMs = Math.max(total.slowestMs, result.slowestMs);
      replaced += 1;
      assert.deepEqual([total.refused, total.cut, total.timedOut], [0, 0, 0], `${replaced}: ${JSON.stringify(total)}`);
    }
  } finally {
    stopBusy();
  }
  t.diagnostic(`${replaced} replacements, ${JSON.stringify(total)}`);
  for (const node of cluster.nodes) assert.doesNotMatch(saidBy(node), /heartbeat is late/, node.name);
  const addresses = new Set(["web", "vault"].flatMap((name) => [asCaptured(cluster.pod(name).ip4)]));
  assert.ok(readWire(await capture.stop(), addresses, [secret]).meshPackets > 0);
});

test("the next agent dies right after the hand-over: the agent before it takes the node again, then a third takes it", async (t) => {
  const node = journey.cluster.node("node-a");
  const churn = callVault();
  let old = 0;
  for (let tries = 1; old === 0; tries += 1) {
    assert.ok(tries <= MOST_TRIES, "each next agent had everything before it was killed");
    old = await killedAtHandOver(node);
    if (old !== 0) t.diagnostic(`killed in time at the ${tries}. try`);
  }
  await replacementOf(node, old);
  await sleep(500);
  const result = await churn.finish();
  // What the killed agent had accepted was cut.
  assert.deepEqual([result.refused, result.timedOut, result.other], [0, 0, {}], JSON.stringify(result));
  assert.doesNotMatch(saidBy(node), /heartbeat is late/);
});

test("an agent that nobody asked for, as of a DaemonSet that surges: it takes the node, and once succeeded waits to be ended", async () => {
  const node = journey.cluster.node("node-a");
  const old = holderOf(node);
  const churn = callVault();
  const surge = node.orlop(["agent", "-c", node.configFile]);
  await replacementOf(node, old);
  // `orlop run` starts its own agent again, which takes the node in its turn.
  await until("the agent of `orlop run`", DEADLINE_MS, async () =>
    holderOf(node) !== surge.pid && holderOf(node) !== old && (await readiness(node)) === "ready" ? true : undefined,
  );
  await until("the surge's agent to be settled", DEADLINE_MS, () =>
    surge.stderr.includes("stopping: open connections may end") ? true : undefined,
  );
  await sleep(500);
  assert.ok(surge.running, surge.stderr);
  surge.kill("SIGTERM");
  assert.equal((await surge.wait(DEADLINE_MS)).status, 0);
  const result = await churn.finish();
  const { refused, cut, timedOut, other } = result;
  assert.deepEqual([refused, cut, timedOut, other], [0, 0, 0, {}], JSON.stringify(result));
});

for (const when of ["before", "after"] as const) {
  test(`the keeper dies ${when} the hand-over: in the end the next agent serves, and nothing was readable`, async () => {
    const { cluster } = journey;
    const node = cluster.node("node-a");
    const capture = await startCapture(cluster);
    const old = holderOf(node);
    const keeper = pidOf(node, "keeper") ?? assert.fail("no keeper");
    process.kill(old, "SIGTERM");
    if (when === "before") process.kill(keeper, "SIGKILL");
    await until("the next agent", DEADLINE_MS, () => (holderOf(node) === old ? undefined : true));
    if (when === "after") process.kill(keeper, "SIGKILL");
    await replacementOf(node, old);
    await until("every pod captured", DEADLINE_MS, async () => {
      const { captured, wanted } = (await view(node, "status")).pods;
      return captured === wanted ? true : undefined;
    });
    const vault = { host: cluster.pod("vault").ip4, port: 8080 };
    await until("an answer", DEADLINE_MS, async () =>
      (await call(cluster.pod("web"), vault, secret)).reply === undefined ? undefined : true,
    );
    const addresses = new Set(["web", "vault"].flatMap((name) => [asCaptured(cluster.pod(name).ip4)]));
    readWire(await capture.stop(), addresses, [secret]);
  });
}
