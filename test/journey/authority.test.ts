// `orlop control` and two nodes whose agents have no root key: pods get their certificates, a captured token gets nothing of another node,
// and what was issued serves while the authority is away.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { call, startPing, startServers } from "../../demo/app/roles.ts";
import { demoNodes, identityOf, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { startMesh, until, view } from "../../demo/mesh/mesh-run.ts";
import { startCapture } from "../../demo/wire/capture.ts";
import { type Cluster, createCluster, type Node } from "../box/cluster.ts";
import type { Running } from "../box/process.ts";
import { type AuthorityBox, startAuthority } from "../support/authority-box.ts";

const ECHO = 8080;
let cluster: Cluster;
let authority: AuthorityBox;
let control: Running;
let a: Node;
let b: Node;

before(async () => {
  cluster = await createCluster({ nodes: demoNodes, nodeConfig: "  dataThreads: 1\n" });
  [a, b] = [cluster.node("node-a"), cluster.node("node-b")];
  cluster.writeMesh(meshText(cluster, initialState));
  authority = await startAuthority(cluster, { leafTtlSeconds: 3_600, rootSpreadSeconds: 0 });
  control = await authority.startControl();
  await Promise.all([startMesh(cluster), ...cluster.nodes.flatMap(({ pods }) => pods).map(startServers)]);
});
after(() => cluster?.close());

type AuditLine = {
  readonly message: string;
  readonly identity?: string;
  readonly node?: string;
  readonly code?: string;
};
const audit = (running: Running): readonly AuditLine[] =>
  running.stdout
    .split("\n")
    .filter((line) => line.includes('"certificate '))
    .map((line) => JSON.parse(line) as AuditLine);
const answered = async (): Promise<boolean> =>
  (await call(cluster.pod("web"), { host: cluster.pod("vault").ip4, port: ECHO })).reply?.pod === "vault";

test("pods of both nodes have certificates of one root that no node has, and the log says of each who asked", async () => {
  await until("a call to a STRICT pod of the other node", 60_000, async () => ((await answered()) ? true : undefined));
  assert.equal(existsSync(cluster.caFile), false);
  const wanted = [
    ...["web", "batch", "cache"].map((name) => `${identityOf(name)} node-a`),
    ...["api", "vault"].map((name) => `${identityOf(name)} node-b`),
  ].toSorted();
  const issued = (): readonly string[] =>
    audit(control)
      .filter(({ message }) => message === "certificate issued")
      .map(({ identity, node }) => `${identity} ${node}`)
      .toSorted();
  await until("a line for each", 60_000, () => (new Set(issued()).size >= wanted.length ? true : undefined));
  // An agent that got no answer in time asks again.
  assert.deepEqual([...new Set(issued())], wanted);
});

test("a captured token of a node obtains its own node's identities and nothing of another node, wherever it is used", async () => {
  for (const from of [a, b]) {
    assert.equal(await authority.ask(from, a, identityOf("web")), "issued");
    assert.match(
      await authority.ask(from, a, identityOf("vault")),
      /PERMISSION_DENIED: no pod of demo\/vault is on the node node-a/,
    );
  }
  // It writes its log beside its answers.
  const refused = await until("a line for each refusal", 20_000, () => {
    const lines = audit(control).filter(({ message }) => message === "certificate refused");
    return lines.length >= 2 ? lines : undefined;
  });
  assert.deepEqual(
    refused.map(({ identity, node, code }) => [identity, node, code]),
    [1, 2].map(() => [identityOf("vault"), "node-a", "PERMISSION_DENIED"]),
  );
});

test("a pod is captured while the authority is silent: calls from it and to it wait for its certificate, and none goes around the mesh", async () => {
  const [legacy, web] = [cluster.pod("legacy"), cluster.pod("web")];
  const capture = await startCapture(cluster);
  control.kill("SIGSTOP");
  let replied = 0;
  try {
    cluster.writeMesh(meshText(cluster, { ...initialState, optedOut: new Set() }));
    await until("legacy captured", 20_000, async () => {
      const { items } = await view(b, "workloads");
      return items.some(({ name, capture: state }) => name === "legacy" && state === "captured") ? true : undefined;
    });
    const both = [call(legacy, { host: web.ip4, port: ECHO }), call(web, { host: legacy.ip4, port: ECHO })];
    const answers = Promise.all(both.map((one) => one.finally(() => void replied++)));
    await sleep(1_500);
    assert.equal(replied, 0, "they wait");
    control.kill("SIGCONT");
    assert.deepEqual(
      (await answers).map(({ reply, error }) => reply?.pod ?? error),
      ["web", "legacy"],
    );
  } finally {
    control.kill("SIGCONT");
  }
  const packets = await capture.stop();
  const plain = packets.filter(({ sourcePort, destinationPort }) => [sourcePort, destinationPort].includes(ECHO));
  assert.equal(plain.length, 0);
});

test("the authority ends: connections go on, new ones are made, and the next authority has the same root", async () => {
  const open = await startPing(cluster.pod("web"), { host: cluster.pod("vault").ip4, port: ECHO }, 50);
  control.kill("SIGKILL");
  await control.wait(10_000);
  assert.ok(await answered());
  assert.match(await authority.ask(a, a, identityOf("web")), /ECONNREFUSED|ended the connection/);
  control = await authority.startControl();
  assert.equal(await authority.ask(b, b, identityOf("vault")), "issued");
  assert.ok(await answered());
  await open.finish();
});
