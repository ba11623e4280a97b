// A node that the revision before this one left behind is taken over by the present keeper and agent: capture never lapses,
// what was joined in the old layout ends, and pods are joined again, under the present policy. The old revision is built from git.
import assert from "node:assert/strict";
import { chownSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { call, startPing, startServers } from "../../demo/app/roles.ts";
import { accessLog, pidOf, readiness, startMesh, until, view } from "../../demo/mesh/mesh-run.ts";
import { asCaptured, startCapture } from "../../demo/wire/capture.ts";
import { readWire } from "../../demo/wire/wire.ts";
import { type Cluster, createCluster, type Node } from "../box/cluster.ts";
import { buildPrevious } from "../box/previous.ts";
import type { Running } from "../box/process.ts";
import { initial, isJoined, type JoinedState, joinedMesh, joinedNodes } from "../support/joined-mesh.ts";

const ECHO = 8080;
const SECRET = "taken-over-only";
let cluster: Cluster;
let left: ReadonlyMap<string, Running>;

before(async () => {
  const main = path.join(buildPrevious(), "agent/main.ts");
  cluster = await createCluster({ nodes: joinedNodes, nodeConfig: "  dataThreads: 1\n" });
  cluster.writeMesh(joinedMesh(cluster, initial));
  // The user of agents of that revision; the present agents make the root's directory their own, as they do with what else lies there.
  chownSync(path.dirname(cluster.caFile), 65_534, 65_534);
  const old = (node: Node): Node => ({ ...node, orlop: (args) => node.start([process.execPath, main, ...args]) });
  const hosts = [...cluster.nodes.flatMap((node) => node.pods), cluster.outside];
  const nodes = cluster.nodes.map(old);
  [left] = await Promise.all([startMesh({ ...cluster, nodes }), ...hosts.map(startServers)]);
  await untilJoined();
});
after(() => cluster?.close());

const to = (pod: string) => ({ host: cluster.pod(pod).ip4, port: ECHO });
const toServer = () => call(cluster.pod("client"), to("server"), SECRET);
const untilJoined = (): Promise<true> =>
  until("a joined connection", 10_000, async () => (isJoined(await toServer()) ? true : undefined));

async function write(node: Node, state: JoinedState): Promise<void> {
  const before = (await view(node, "status")).source.appliedAt;
  cluster.writeMesh(joinedMesh(cluster, state));
  await until("the new configuration", 10_000, async () =>
    (await view(node, "status")).source.appliedAt === before ? undefined : true,
  );
}

/** Ends everything of the old revision on a node by SIGKILL, so that nothing is put in order, and starts the present revision. */
async function takeOver(node: Node): Promise<void> {
  // `orlop run` first: it would start the others again.
  left.get(node.name)?.kill("SIGKILL");
  const pids = (["agent", "keeper"] as const).map((program) => pidOf(node, program));
  for (const pid of pids) {
    assert.ok(pid !== undefined);
    process.kill(pid, "SIGKILL");
  }
  if (node.name === "node-a") {
    const alone = await toServer();
    assert.ok(isJoined(alone), `with nobody there: ${JSON.stringify(alone)}`);
  }
  node.orlop(["run", "-c", node.configFile]);
  await until(`${node.name} taken over`, 30_000, async () => {
    if ((await readiness(node)) !== "ready") return undefined;
    const { captured, wanted } = (await view(node, "status")).pods;
    return captured === wanted ? true : undefined;
  });
}

/** Calls that must never be answered, and calls that must never be readable on the wire, until stopped. */
function watchCapture(): { stop(): Promise<number> } {
  let going = true;
  const watching = (async () => {
    let rounds = 0;
    for (; going; rounds += 1) {
      const [stranger, outside] = await Promise.all([
        call(cluster.pod("stranger"), to("server"), SECRET),
        call(cluster.outside, to("server"), "from outside"),
        call(cluster.pod("client"), to("far"), SECRET),
      ]);
      assert.equal(stranger.reply, undefined, "a caller without permission was answered");
      assert.equal(outside.reply, undefined, "plaintext from outside was answered by a STRICT pod");
    }
    return rounds;
  })();
  // Reported by stop(); until then nobody waits for it.
  watching.catch(() => {});
  return {
    stop: () => {
      going = false;
      return watching;
    },
  };
}

test("a node of the revision before is taken over: capture does not lapse, and pods are joined again under policy", async (t) => {
  const fromBefore = await startPing(cluster.pod("client"), to("server"), 20, SECRET);
  const wire = await startCapture(cluster);
  const watch = watchCapture();
  for (const node of cluster.nodes) await takeOver(node);
  t.diagnostic(`${await watch.stop()} rounds of calls while both nodes were taken over`);
  await untilJoined();
  await until("an answer from the other node", 10_000, async () =>
    (await call(cluster.pod("client"), to("far"), SECRET)).reply?.pod === "far" ? true : undefined,
  );
  const addresses = new Set([asCaptured(cluster.pod("client").ip4), asCaptured(cluster.pod("far").ip4)]);
  assert.ok(readWire(await wire.stop(), addresses, [SECRET]).meshPackets > 0);
  // Its verdicts' socket storage belongs to the old layout: nobody could judge it any more.
  await fromBefore.dead(10_000);
  const ended = await startPing(cluster.pod("client"), { host: cluster.pod("server").ip6, port: ECHO }, 20, SECRET);
  const node = cluster.node("node-a");
  const start = accessLog(node).length;
  await write(node, { callers: ["nobody"] });
  await ended.dead(10_000);
  const entry = await until("the record of the end", 10_000, () =>
    accessLog(node)
      .slice(start)
      .find(
        (line) => line["src.workload"] === "client" && line["dst.addr"] === `[${cluster.pod("server").ip6}]:${ECHO}`,
      ),
  );
  assert.equal(entry.reason, "no-allow-matched");
  assert.equal((await toServer()).reply, undefined);
  await write(node, initial);
  await untilJoined();
});
