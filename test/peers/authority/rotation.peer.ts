// test peers · certificates that live a minute are renewed by `orlop control` while calls run between two nodes, the root is changed for
// another meanwhile, and the authority itself ends and begins again: no call fails.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before } from "node:test";
import { newRootData } from "../../../agent/authority/root.ts";
import { call, startChurn, startServers } from "../../../demo/app/roles.ts";
import { demoNodes, initialState, meshText } from "../../../demo/mesh/mesh-file.ts";
import { startMesh, until, view } from "../../../demo/mesh/mesh-run.ts";
import { type Cluster, createCluster } from "../../box/cluster.ts";
import type { Running } from "../../box/process.ts";
import { type AuthorityBox, startAuthority } from "../../support/authority-box.ts";
import { peerCase } from "../support/cases.ts";

const ONCE = 8084;
const PATIENCE_MS = 180_000;
let cluster: Cluster;
let authority: AuthorityBox;
let control: Running;
/** `orlop run` of each node. */
let programs: ReadonlyMap<string, Running>;

before(async () => {
  cluster = await createCluster({ nodes: demoNodes, nodeConfig: "  dataThreads: 1\n" });
  cluster.writeMesh(meshText(cluster, initialState));
  authority = await startAuthority(cluster, { leafTtlSeconds: 60, rootSpreadSeconds: 3 });
  control = await authority.startControl();
  [programs] = await Promise.all([startMesh(cluster), ...cluster.nodes.flatMap(({ pods }) => pods).map(startServers)]);
});
after(() => cluster?.close());

/** Serials of all certificates of both nodes, by identity. */
async function serials(): Promise<ReadonlyMap<string, string>> {
  const lists = await Promise.all(cluster.nodes.map((node) => view(node, "certs")));
  return new Map(lists.flatMap(({ items }) => items.map(({ identity, serial }) => [identity, serial] as const)));
}

/** Resolves when every identity has another certificate than now. */
async function allRenewed(): Promise<void> {
  const first = await serials();
  assert.ok(first.size >= 5, `${first.size} identities`);
  await until("another certificate of each identity", PATIENCE_MS, async () => {
    const now = await serials();
    return [...first].every(([identity, serial]) => serial !== "" && now.get(identity) !== serial) ? true : undefined;
  });
}
const roots = (): number => readFileSync(authority.rootsFile, "utf8").match(/BEGIN/g)?.length ?? 0;

peerCase(
  "rotation",
  "0 calls fail while every certificate is renewed, the root is another, and the authority begins again",
  async (t) => {
    const target = { host: cluster.pod("vault").ip4, port: ONCE };
    await until("a first call", PATIENCE_MS, async () =>
      (await call(cluster.pod("web"), { ...target, port: 8080 })).reply === undefined ? undefined : true,
    );
    const churn = startChurn(cluster.pod("web"), target, 2, "while certificates change");
    authority.tell({ secret: await newRootData("cluster.local", Date.now()) });
    await until("both roots", PATIENCE_MS, () => (roots() === 2 ? true : undefined));
    const trustBoth = (): boolean =>
      [...programs.values()].every(({ stderr }) => stderr.includes("the trusted roots changed"));
    await until("both nodes to trust both roots", PATIENCE_MS, () => (trustBoth() ? true : undefined));
    control.kill("SIGKILL");
    await control.wait(10_000);
    // It has only the new key, and serves once every node has had the time to learn of its root.
    control = await authority.startControl();
    await allRenewed();
    const result = await churn.finish();
    t.diagnostic(`${result.answered} calls answered`);
    assert.ok(result.answered > 100, JSON.stringify(result));
    const { refused, cut, timedOut, other } = result;
    assert.deepEqual({ refused, cut, timedOut, other }, { refused: 0, cut: 0, timedOut: 0, other: {} });
    // Both roots are trusted until the last certificate of the old root has ended.
    assert.equal(roots(), 2);
  },
);
