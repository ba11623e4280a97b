// The node's own configuration: defaults, the environment over the file, and every mistake with its place.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { ConfigError } from "../control/kinds/value.ts";
import { positionText } from "../mesh/source-ref.ts";
import { loadConfig, loadConfigOrLast } from "./load.ts";

const HEAD = "apiVersion: orlop.dev/v1alpha1\nkind: NodeConfig\nspec:\n";

function file(t: TestContext, text: string): string {
  const folder = mkdtempSync(join(tmpdir(), "orlop-config-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "orlop.yaml");
  writeFileSync(path, text);
  return path;
}

test("a file without a NodeConfig is a node with every default", (t) => {
  const path = file(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n");
  const { keeper, agent } = loadConfig(path, {});
  assert.deepEqual(keeper, {
    node: hostname(),
    directory: "/run/orlop-keeper",
    socket: "/run/orlop-keeper/keeper.sock",
    stateDirectory: "/var/lib/orlop-keeper",
    bpffs: "/sys/fs/bpf",
    podsCgroup: "mounted",
    heartbeatLimitMs: 2_000,
    nodeAccess: { mode: "none", kubeletCgroup: "", from: [] },
    agentUid: 61_008,
    agentGid: 61_008,
    log: { level: "info" },
  });
  assert.equal(agent.settings.trustDomain, "cluster.local");
  assert.equal(agent.settings.rootNamespace, "istio-system");
  assert.deepEqual(agent.source, { kind: "file", path, lastGoodFile: "/var/lib/orlop/last-good.json" });
  assert.equal(agent.admin.socket, "/run/orlop/agent.sock");
  assert.deepEqual([agent.metrics.port, agent.ready.port, agent.log.access], [15_020, 15_021, "stdout"]);
  assert.ok(agent.dataThreads >= 1);
  assert.equal(agent.recordLayer, "own");
  assert.equal(agent.unreadMs, 3_600_000);
});

test("programs of the node: the kubelet by default in a pod of Kubernetes, what the file says in any case", (t) => {
  const kubernetes = { KUBERNETES_SERVICE_HOST: "10.96.0.1" };
  const silent = file(t, `${HEAD}  node: n1\n`);
  assert.equal(loadConfig(silent, kubernetes).keeper.nodeAccess.mode, "kubelet");
  assert.equal(loadConfig(silent, {}).keeper.nodeAccess.mode, "none");
  const said = file(
    t,
    `${HEAD}  nodeAccess: none\n  kubeletCgroup: /system.slice/k3s.service/\n  nodeAccessFrom: [node-exporter.service]\n`,
  );
  assert.deepEqual(loadConfig(said, kubernetes).keeper.nodeAccess, {
    mode: "none",
    kubeletCgroup: "/system.slice/k3s.service",
    from: ["node-exporter.service"],
  });
  for (const wrong of [
    "nodeAccess: all",
    "kubeletCgroup: kubelet",
    "nodeAccessFrom: [/a/../b]",
    "nodeAccessFrom: [/]",
  ]) {
    assert.throws(() => loadConfig(file(t, `${HEAD}  ${wrong}\n`), {}), ConfigError, wrong);
  }
  const keep = join(said, "..", "kept");
  loadConfigOrLast(said, keep, {});
  writeFileSync(said, "");
  assert.equal(loadConfigOrLast(said, keep, {}).config.keeper.nodeAccess.kubeletCgroup, "/system.slice/k3s.service");
});

test("the pods' cgroup: looked for in a pod of Kubernetes, the tree's mount elsewhere, what the file says in any case", (t) => {
  const kubernetes = { KUBERNETES_SERVICE_HOST: "10.96.0.1" };
  const silent = file(t, `${HEAD}  node: n1\n`);
  assert.equal(loadConfig(silent, kubernetes).keeper.podsCgroup, "auto");
  assert.equal(loadConfig(silent, {}).keeper.podsCgroup, "mounted");
  const keep = join(silent, "..", "kept-silent");
  loadConfigOrLast(silent, keep, {});
  writeFileSync(silent, "");
  assert.equal(
    loadConfigOrLast(silent, keep, kubernetes).config.keeper.podsCgroup,
    "auto",
    "not set is kept as not set",
  );
  for (const given of ["auto", "/sys/fs/cgroup/unified/kubepods"]) {
    const said = file(t, `${HEAD}  podsCgroup: ${given}\n`);
    for (const env of [kubernetes, {}]) assert.equal(loadConfig(said, env).keeper.podsCgroup, given);
  }
  for (const wrong of ["kubepods", "/sys/../etc", "AUTO"])
    assert.throws(() => loadConfig(file(t, `${HEAD}  podsCgroup: ${wrong}\n`), {}), ConfigError, wrong);
});

test("source: kubernetes asks the API server of the pod, or of a kubeconfig, and keeps its own last good copy", (t) => {
  const lastGoodFile = "/var/lib/orlop/last-good-cluster.jsonl";
  const inPod = file(t, `${HEAD}  node: n1\n  source: kubernetes\n`);
  for (const [host, server] of [
    ["10.96.0.1", "https://10.96.0.1:6443"],
    ["fd00::1", "https://[fd00::1]:6443"],
  ]) {
    const { agent } = loadConfig(inPod, { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: "6443" });
    assert.deepEqual(agent.source, { kind: "kubernetes", api: { server }, lastGoodFile });
  }
  const named = file(t, `${HEAD}  source: kubernetes\n  kubeconfig: admin.conf\n`);
  const api = { kubeconfig: join(named, "..", "admin.conf") };
  assert.deepEqual(loadConfig(named, {}).agent.source, { kind: "kubernetes", api, lastGoodFile });
  const keep = join(named, "..", "kept-named");
  loadConfigOrLast(named, keep, {});
  writeFileSync(named, "");
  assert.equal(loadConfigOrLast(named, keep, {}).config.agent.source.kind, "kubernetes");
  for (const [wrong, why] of [
    ["source: kubernetes", /this is no pod of a cluster/],
    ["source: kubernetes\n  kubeconfig: a\n  mesh: mesh.d", /spec\.mesh is not read with source: kubernetes/],
    ["kubeconfig: a", /spec\.kubeconfig is not read with source: file/],
    ["source: xds", /"xds" is not one of file, kubernetes/],
  ] as const)
    assert.throws(() => loadConfig(file(t, `${HEAD}  ${wrong}\n`), {}), why);
});

test("a program begins with the settings that were read last while the file is wrong, empty or away", (t) => {
  const path = file(t, `${HEAD}  node: n1\n  runDir: /run/x\n  mesh: mesh.yaml\n`);
  const kept = join(path, "..", "kept");
  const first = loadConfigOrLast(path, kept, {});
  assert.deepEqual([first.config, first.problems], [loadConfig(path, {}), []]);
  for (const wrong of [
    `${HEAD}  node: n1\n  runD`,
    "",
    "kind: [",
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n",
  ]) {
    writeFileSync(path, wrong);
    const { config, problems } = loadConfigOrLast(path, kept, {});
    assert.deepEqual(config, first.config);
    assert.ok(problems[0] && positionText(problems[0].from).startsWith(path));
  }
  rmSync(path);
  assert.deepEqual(loadConfigOrLast(path, kept, {}).config, first.config);
  assert.equal(loadConfigOrLast(path, kept, { ORLOP_NODE: "n2" }).config.keeper.node, "n2");
  writeFileSync(path, `${HEAD}  node: n3\n`);
  assert.deepEqual(loadConfigOrLast(path, kept, {}).config.keeper.node, "n3");
  writeFileSync(path, "");
  assert.deepEqual(loadConfigOrLast(path, kept, {}).config.keeper.node, "n3");
});

test("an authority elsewhere: its files have places of their own, and what is kept reads the same", (t) => {
  const path = file(t, `${HEAD}  ca: {provider: service, address: "https://[fd00::1]:15012", leafTtlSeconds: 600}\n`);
  const kept = join(path, "..", "kept");
  const expected = {
    ...{ provider: "service", address: "https://[fd00::1]:15012", leafTtlSeconds: 600 },
    tokenFile: "/var/run/secrets/orlop/token",
    ...{ rootsFile: "/var/run/orlop-roots/root-cert.pem", serverRootsFile: "" },
  };
  assert.deepEqual(loadConfigOrLast(path, kept, {}).config.agent.ca, expected);
  writeFileSync(path, "kind: [");
  assert.deepEqual(loadConfigOrLast(path, kept, {}).config.agent.ca, expected);
  assert.deepEqual(loadConfigOrLast(path, kept, { ORLOP_CA_ADDRESS: "https://other:1" }).config.agent.ca, {
    ...expected,
    address: "https://other:1",
  });
});

test("nothing is kept where another user may write, and a wrong file without a copy is an error", (t) => {
  const path = file(t, `${HEAD}  node: n1\n`);
  const open = join(path, "..", "open");
  mkdirSync(open);
  chmodSync(open, 0o777);
  loadConfigOrLast(path, open, {});
  assert.deepEqual(readdirSync(open), []);
  writeFileSync(path, "kind: [");
  assert.throws(() => loadConfigOrLast(path, open, {}), ConfigError);
});

test("what is written counts, paths start at the file, the environment comes last", (t) => {
  const path = file(
    t,
    `${HEAD}  node: n1\n  mesh: mesh.d\n  runDir: /run/x/\n  ca: {leafTtlSeconds: 600}\n  dataThreads: 3\n`,
  );
  const { agent, keeper } = loadConfig(path, {
    ORLOP_NODE: "n2",
    ORLOP_LOG_LEVEL: "debug",
    ORLOP_SERVICE_HOST: "10.0.0.1",
  });
  assert.equal(agent.settings.node, "n2");
  assert.equal(agent.source.kind === "file" && agent.source.path, join(path, "..", "mesh.d"));
  assert.equal(keeper.socket, "/run/x-keeper/keeper.sock");
  assert.deepEqual(agent.ca, { provider: "embedded", rootFile: "/var/lib/orlop/root.pem", leafTtlSeconds: 600 });
  assert.equal(agent.dataThreads, 3);
  assert.equal(keeper.log.level, "debug");
  assert.equal(loadConfig(path, { ORLOP_DATA_THREADS: "2" }).agent.dataThreads, 2);
  const patient = readFileSync(new URL("../../docs/reasons/unread.md", import.meta.url), "utf8");
  const example = /```yaml\n([^`]*)```/.exec(patient)?.[1] ?? "";
  assert.equal(loadConfig(file(t, example), {}).agent.unreadMs, 86_400_000);
  const openssl = file(t, `${HEAD}  node: n1\n  tls: {recordLayer: openssl}\n`);
  assert.equal(loadConfig(openssl, {}).agent.recordLayer, "openssl");
  assert.equal(loadConfig(openssl, { ORLOP_TLS_RECORD_LAYER: "own" }).agent.recordLayer, "own");
});

for (const [name, text, env, expected] of [
  [
    "an unknown field",
    `${HEAD}  trustDomian: a\n`,
    {},
    /:4:3: spec has no field "trustDomian".*\n.*\n.*did you mean trustDomain\?/,
  ],
  ["a nested unknown field", `${HEAD}  metrics: {prot: 1}\n`, {}, /:4:13: spec\.metrics has no field "prot"/],
  ["a wrong type", `${HEAD}  dataThreads: "2"\n`, {}, /:4:16: spec\.dataThreads should be a whole number/],
  ["a port that is none", `${HEAD}  ready: {port: 0}\n`, {}, /:4:17: .*1 to 65535/],
  ["a relative run directory", `${HEAD}  runDir: run\n`, {}, /:4:11: .*absolute path/],
  ["a climbing path", `${HEAD}  bpffs: /sys/../etc\n`, {}, /absolute path/],
  ["an upper-case trust domain", `${HEAD}  trustDomain: Cluster.local\n`, {}, /trust domain/],
  ["root as the agent's user", `${HEAD}  agentUid: 0\n`, {}, /from 1 to/],
  ["a record layer of nobody's", `${HEAD}  tls: {recordLayer: kernel}\n`, {}, /not one of own, openssl/],
  ["requests that are logged by no rule", `${HEAD}  log: {requests: some}\n`, {}, /not one of errors, all/],
  ["an unknown log level", `${HEAD}  log: {level: loud}\n`, {}, /not one of trace/],
  ["two NodeConfigs", `${HEAD}  node: a\n---\n${HEAD}  node: b\n`, {}, /:6:1: a second NodeConfig/],
  [
    "an authority without an address",
    `${HEAD}  ca: {provider: service}\n`,
    {},
    /spec\.ca has no address.*\n.*\n.*https:/,
  ],
  [
    "an authority's file that nobody reads",
    `${HEAD}  ca: {provider: service, address: "https://ca:1", rootFile: /r}\n`,
    {},
    /spec\.ca\.rootFile is not read with provider: service/,
  ],
  [
    "an address that nobody asks",
    `${HEAD}  ca: {address: "https://ca:1"}\n`,
    {},
    /spec\.ca\.address is not read with provider: embedded/,
  ],
  ...["http://ca:1", "https://ca", "https://ca:0", "https://ca:70000", "https://u@ca:1", "https://ca:1/x"].map(
    (address) =>
      [
        `the address ${address}`,
        `${HEAD}  ca: {provider: service, address: "${address}"}\n`,
        {},
        /an https address/,
      ] as const,
  ),
  ["no spec", "apiVersion: orlop.dev/v1alpha1\nkind: NodeConfig\n", {}, /lacks "spec"/],
  [
    "a bad environment",
    `${HEAD}  node: a\n`,
    { ORLOP_DATA_THREADS: "many" },
    /environment ORLOP_DATA_THREADS: spec\.dataThreads/,
  ],
  ["YAML that is none", "a: [", {}, /:1:\d+: /],
] as const) {
  test(`refused: ${name}`, (t) => {
    assert.throws(
      () => loadConfig(file(t, text), env),
      (error) => error instanceof ConfigError && expected.test(error.message),
    );
  });
}

test("a file that cannot be read is named", () => {
  assert.throws(
    () => loadConfig("/nonexistent/orlop.yaml", {}),
    (error) => error instanceof ConfigError && /ENOENT/.test(error.message),
  );
});

test("a file that is written anew all the time never makes the node another", async (t) => {
  const good = "apiVersion: orlop.dev/v1alpha1\nkind: NodeConfig\nspec: {node: n1, runDir: /run/n1}\n";
  const path = file(t, good);
  const kept = join(path, "..", "kept");
  mkdirSync(kept, { mode: 0o755 });
  loadConfigOrLast(path, kept, {});
  // As editors and shells do: cut to nothing, then written.
  const write = "const fs = require('node:fs'); for (;;) fs.writeFileSync(process.argv[1], process.argv[2]);";
  const writer = spawn(process.execPath, ["-e", write, path, good], { stdio: "ignore" });
  const ended = once(writer, "exit");
  let half = 0;
  try {
    await once(writer, "spawn");
    const end = performance.now() + 20_000;
    for (let reads = 0; half < 100 && performance.now() < end; reads++) {
      const { config, problems } = loadConfigOrLast(path, kept, {});
      half += problems.length;
      assert.deepEqual([config.keeper.node, config.keeper.directory], ["n1", "/run/n1-keeper"], `after ${reads} reads`);
      if (reads % 100 === 0) await new Promise(setImmediate);
    }
  } finally {
    // Before the folder goes.
    writer.kill("SIGKILL");
    await ended;
  }
  assert.ok(half > 0, "no read met a file that was cut");
});
