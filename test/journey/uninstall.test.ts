// `orlop uninstall` on the nodes of a running mesh: it refuses while something serves, takes everything away where nothing does, and may be
// run again.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { call } from "../../demo/app/roles.ts";
import { demoNodes, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { until } from "../../demo/mesh/mesh-run.ts";
import type { Node } from "../box/cluster.ts";
import type { Finished } from "../box/process.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

const DEADLINE_MS = 60_000;
let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes: demoNodes }, (cluster) => meshText(cluster, initialState));
});
after(() => journey?.close());

const uninstall = (node: Node, ...options: readonly string[]): Promise<Finished> =>
  node.orlop(["uninstall", "-c", node.configFile, ...options]).wait(DEADLINE_MS);
const vault = () => ({ host: journey.cluster.pod("vault").ip4, port: 8080 });
const isOpen = async (): Promise<boolean> => (await call(journey.cluster.outside, vault())).reply !== undefined;
/** Pins of the node's keepers: the file system is mounted for the node's programs alone. */
async function pinsOf(node: Node): Promise<readonly string[]> {
  const { stdout } = await node.run(["find", node.bpffs, "-type", "f", "-path", "*/orlop/*"]);
  return stdout.split("\n").filter((line) => line !== "");
}

/** `orlop run`, keeper and agent of a node, in this order: the first would start the others again. */
function programsOf(node: Node): readonly number[] {
  const pids = readFileSync(path.join(node.place.cgroup, "cgroup.procs"), "utf8").trim().split("\n").map(Number);
  const named = pids.flatMap((pid) => {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      const main = words.findIndex((word) => /\/main\.[jt]s$/.test(word));
      return main < 0 ? [] : [{ pid, name: words[main + 1] ?? "" }];
    } catch {
      // It ended while we looked.
      return [];
    }
  });
  return ["run", "keeper", "agent"]
    .flatMap((wanted) => named.filter(({ name }) => name === wanted))
    .map(({ pid }) => pid);
}

/** Nothing is put in order. */
async function kill(node: Node): Promise<void> {
  const pids = programsOf(node);
  assert.equal(pids.length, 3);
  for (const pid of pids) process.kill(pid, "SIGKILL");
  await until("the end of all programs", DEADLINE_MS, () => (programsOf(node).length === 0 ? true : undefined));
}

test("while something serves it says what would happen, removes nothing, and a STRICT pod stays closed", async () => {
  const node = journey.cluster.node("node-b");
  const refused = await uninstall(node);
  assert.equal(refused.status, 1, refused.stdout + refused.stderr);
  assert.match(refused.stdout, /every pod of this node is out of the mesh at once/);
  assert.match(refused.stderr, /the keeper of this node is serving, and nothing was removed\n +why: .+\n +do: +.+/);
  assert.ok((await pinsOf(node)).length > 0);
  assert.equal(await isOpen(), false);
  assert.notEqual((await call(journey.cluster.pod("web"), vault())).reply, undefined);
});

test("with nobody there it takes all away, also what refuses in the kernel, and may be run again", async () => {
  const node = journey.cluster.node("node-b");
  await kill(node);
  assert.equal(await isOpen(), false, "what is pinned refuses, whoever has ended");
  const shown = await uninstall(node, "--dry-run", "--state");
  assert.equal(shown.status, 0, shown.stderr);
  assert.match(shown.stdout, /would remove .*: every pod's capture/);
  assert.equal(await isOpen(), false);

  const done = await uninstall(node);
  assert.equal(done.status, 0, done.stdout + done.stderr);
  assert.equal(await isOpen(), true, "the pod is an ordinary pod again");
  assert.deepEqual(await pinsOf(node), []);
  assert.equal(existsSync(node.runDir), false);
  assert.equal(existsSync(`${node.runDir}-keeper`), false);

  const state = await uninstall(node, "--state");
  assert.equal(state.status, 0, state.stdout + state.stderr);
  const again = await uninstall(node, "--state");
  assert.deepEqual([again.status, again.stdout], [0, "nothing of Orlop is on this node\n"]);
});

test("--force beside programs that serve opens the node's pods, and says that the rest waits for their end", async () => {
  const node = journey.cluster.node("node-a");
  const forced = await uninstall(node, "--force");
  assert.equal(forced.status, 0, forced.stdout + forced.stderr);
  assert.match(forced.stdout, /run this command again then/);
  assert.deepEqual(await pinsOf(node), []);
  await kill(node);
  const rest = await uninstall(node, "--state");
  assert.equal(rest.status, 0, rest.stdout + rest.stderr);
  assert.equal(existsSync(node.runDir), false);
});
