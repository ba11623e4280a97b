// A mesh of many files in one directory: a change of a file is in force soon, a bad change holds back what changes with it,
// and a file that goes takes what it said along.
import assert from "node:assert/strict";
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync, writeSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { call, startPing, startServers } from "../../demo/app/roles.ts";
import { demoNodes, initialState, type MeshState, meshText } from "../../demo/mesh/mesh-file.ts";
import { startMesh, until, view } from "../../demo/mesh/mesh-run.ts";
import { type Cluster, createCluster } from "../box/cluster.ts";
import { keepWriting } from "../support/journey-acts.ts";

const ECHO = 8080;
/** Applications elsewhere in the mesh, a file each. */
const OTHERS = 300;
let cluster: Cluster;
let folder: string;

/** Whole under another name, then renamed. */
function put(name: string, text: string): void {
  writeFileSync(path.join(folder, `${name}.new`), text);
  renameSync(path.join(folder, `${name}.new`), path.join(folder, name));
}

/** Each document of the demo's mesh as a file of its own, by kind and name. */
function demoFiles(change: Partial<MeshState> = {}): ReadonlyMap<string, string> {
  const documents = meshText(cluster, { ...initialState, ...change }).split("---\n");
  return new Map(
    documents.map((text) => [`${/kind: (\w+)/.exec(text)?.[1]}-${/name: ([a-z-]+)/.exec(text)?.[1]}.yaml`, text]),
  );
}

const policyFile = "AuthorizationPolicy-vault-callers.yaml";
const policyText = (callers: readonly string[]): string => demoFiles({ vaultCallers: callers }).get(policyFile) ?? "";

function otherApp(nth: number): string {
  const pods = Array.from(
    { length: 10 },
    (_, pod) => `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: other-${nth}-${pod}, namespace: other, labels: {app: other-${nth}}}
spec: {addresses: ["10.100.${nth >> 4}.${(nth & 15) * 16 + pod}"], node: elsewhere, serviceAccount: other-${nth}}
`,
  );
  return pods.join("---\n");
}

before(async () => {
  cluster = await createCluster({ nodes: demoNodes, nodeConfig: "  dataThreads: 1\n" });
  folder = path.join(cluster.dir, "mesh.d");
  mkdirSync(folder);
  for (const [name, text] of demoFiles()) put(name, text);
  for (let nth = 0; nth < OTHERS; nth++) put(`other-${nth}.yaml`, otherApp(nth));
  for (const { configFile } of cluster.nodes) {
    writeFileSync(configFile, readFileSync(configFile, "utf8").replace(/^ {2}mesh: .*$/m, `  mesh: ${folder}`));
  }
  const hosts = [...cluster.nodes.flatMap((node) => node.pods), cluster.outside];
  await Promise.all([startMesh(cluster), ...hosts.map(startServers)]);
});
after(() => cluster?.close());

const web = () => cluster.pod("web");
const vault = () => ({ host: cluster.pod("vault").ip4, port: ECHO });
const source = async () => (await view(cluster.node("node-b"), "status")).source;

describe("a directory of many files", () => {
  test("is read whole", async () => {
    const { state, objects } = await source();
    assert.deepEqual([state, objects], ["synced", OTHERS * 10 + demoFiles().size - 1]);
    assert.equal((await call(web(), vault())).reply?.pod, "vault");
  });

  test("one file's change ends the live connection it denies, and serves again when it is taken back", async (t) => {
    const pinger = await startPing(web(), vault(), 5);
    const beganMs = performance.now();
    put(policyFile, policyText(["nobody"]));
    await pinger.dead(20_000);
    t.diagnostic(
      `from the file's change to the end of the connection as its pod saw it: ${Math.round(performance.now() - beganMs)} ms`,
    );
    assert.equal((await call(web(), vault())).reply, undefined);
    put(policyFile, policyText(["web"]));
    await until("web allowed again", 20_000, async () => ((await call(web(), vault())).reply ? true : undefined));
  });

  test("a bad file changes nothing, is told with its place, and what changed meanwhile waits for it", async () => {
    put("other-7.yaml", otherApp(7).replace("node:", "nodes:"));
    await until("rejected", 20_000, async () => ((await source()).state === "rejected" ? true : undefined));
    assert.match((await source()).errors[0]?.at ?? "", /other-7\.yaml:\d+:\d+/);
    const pinger = await startPing(web(), vault(), 5);
    put(policyFile, policyText(["nobody"]));
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert.equal((await call(web(), vault())).reply?.pod, "vault");
    put("other-7.yaml", otherApp(7));
    await pinger.dead(20_000);
    put(policyFile, policyText(["web"]));
    await until("web allowed again", 20_000, async () => ((await call(web(), vault())).reply ? true : undefined));
  });

  test("half of a file that is written in place takes no protection away while its writer pauses", async () => {
    const whole = policyText(["web"]);
    const strict = demoFiles().get("PeerAuthentication-vault-strict.yaml") ?? "";
    put(policyFile, `${strict.replace("vault-strict", "again-strict")}---\n${whole}`);
    await until("two objects in one file", 20_000, async () =>
      (await source()).objects === OTHERS * 10 + demoFiles().size ? true : undefined,
    );
    const file = openSync(path.join(folder, policyFile), "w");
    writeSync(file, strict.replace("vault-strict", "again-strict"));
    const pause = keepWriting(file);
    try {
      await until("held", 20_000, async () => ((await source()).state === "held" ? true : undefined));
      assert.deepEqual(
        (await source()).errors.map(({ code, what }) => `${code} ${what}`),
        ["ORL4108 AuthorizationPolicy demo/vault-callers is gone"],
      );
      assert.equal((await call(cluster.pod("batch"), vault())).reply, undefined);
      pause();
      writeSync(file, `---\n${whole}`);
    } finally {
      pause();
      closeSync(file);
    }
    await until("synced", 20_000, async () => ((await source()).state === "synced" ? true : undefined));
    assert.equal((await call(cluster.pod("batch"), vault())).reply, undefined);
    assert.equal((await call(web(), vault())).reply?.pod, "vault");
  });

  test("a file that goes takes its policy along", async () => {
    rmSync(path.join(folder, policyFile));
    const { state } = await source();
    assert.equal(state, "synced");
    await until("batch is served", 20_000, async () =>
      (await call(cluster.pod("batch"), vault())).reply ? true : undefined,
    );
  });
});
