// A node of the revision before calls a node of this revision, as while a mesh is upgraded. The older node sends RST_STREAM for
// each connection that its application aborts, answered or not: the tunnel lives, and what others have on it.
import assert from "node:assert/strict";
import { chownSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { call, startPing, startServers } from "../../demo/app/roles.ts";
import { demoNodes, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { startMesh, view } from "../../demo/mesh/mesh-run.ts";
import { type Cluster, createCluster, type Node } from "../box/cluster.ts";
import { buildPrevious } from "../box/previous.ts";

const ECHO = 8080;
const ABORTS = 300;
const FORMER_USER = 65_534;
const aborter = fileURLToPath(new URL("../peers/support/aborter.ts", import.meta.url));
let cluster: Cluster;

before(async () => {
  const main = path.join(buildPrevious(), "agent/main.ts");
  const old = (node: Node): Node => ({ ...node, orlop: (args) => node.start([process.execPath, main, ...args]) });
  // Both agents read one root, so they have one user, which was another in that revision.
  const user = `  agentUid: ${FORMER_USER}\n  agentGid: ${FORMER_USER}\n`;
  cluster = await createCluster({ nodes: demoNodes, nodeConfig: `  dataThreads: 1\n${user}` });
  chownSync(path.dirname(cluster.caFile), FORMER_USER, FORMER_USER);
  cluster.writeMesh(meshText(cluster, initialState));
  const nodes = cluster.nodes.map((node) => (node.name === "node-a" ? old(node) : node));
  const hosts = [...cluster.nodes.flatMap((node) => node.pods), cluster.outside];
  await Promise.all([startMesh({ ...cluster, nodes }), ...hosts.map(startServers)]);
});
after(() => cluster?.close());

test(`${ABORTS} aborts by the last release's client beside a long connection, and it lives`, async () => {
  const [web, vault] = [cluster.pod("web"), cluster.pod("vault")];
  const long = await startPing(web, { host: vault.ip4, port: ECHO }, 20);
  const aborts = await web.run([process.execPath, aborter, vault.ip4, String(ECHO), String(ABORTS), "0"], 60_000);
  assert.deepEqual([aborts.status, aborts.stdout.trim()], [0, String(ABORTS)], aborts.stderr);
  const answered = await call(web, { host: vault.ip4, port: ECHO });
  assert.equal(answered.reply?.pod, "vault", JSON.stringify(answered));
  await long.finish();
  const { version } = await view(cluster.node("node-b"), "status");
  assert.ok(version.length > 0);
});
