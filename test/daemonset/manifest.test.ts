// daemonset/manifest.yaml: what each pod may do, and that it fits the programs' own configuration. No cluster needed.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import { type Config, loadConfig } from "../../agent/config.ts";
import { translateTexts } from "../../agent/control/static-file/read.ts";
import { keeperLives } from "../../agent/process/privileges.ts";
import { agentFlags, keeperFlags } from "../../agent/process/run.ts";
import { container, documents, type Mount, object, podOf } from "./manifest.ts";

const folder = mkdtempSync(join(tmpdir(), "orlop-manifest-"));
after(() => rmSync(folder, { recursive: true }));

/** What the pods of the manifest read; `mesh` is an absolute path there. */
function config(env: Readonly<Record<string, string>> = { ORLOP_NODE: "node-1" }): Config {
  const file = join(folder, "orlop.yaml");
  writeFileSync(file, object("ConfigMap", "orlop-node").data?.["orlop.yaml"] ?? "");
  return loadConfig(file, env);
}
const defaults = (): Config => {
  const file = join(folder, "defaults.yaml");
  writeFileSync(file, "apiVersion: orlop.dev/v1alpha1\nkind: NodeConfig\nspec: {}\n");
  return loadConfig(file, {});
};
const isBelow = (path: string, mounts: readonly Mount[]): Mount | undefined =>
  mounts.find(({ mountPath }) => path === mountPath || path.startsWith(`${mountPath}/`));

test("it parses without a warning, and every object has a kind, a version and a name", () => {
  assert.deepEqual(
    documents().map(({ kind, metadata }) => `${kind} ${metadata.name}`),
    [
      "Namespace orlop-system",
      "ConfigMap orlop-node",
      "ConfigMap orlop-mesh",
      "DaemonSet orlop-keeper",
      "DaemonSet orlop-agent",
    ],
  );
  for (const { apiVersion, kind, metadata } of documents()) {
    assert.match(apiVersion, /^(apps\/)?v1$/);
    if (kind !== "Namespace") assert.equal(metadata.namespace, "orlop-system");
  }
});

describe("the agent's pod", () => {
  test("has no capability, no root and no writable root in any container", () => {
    for (const container of [...podOf("agent").containers, ...(podOf("agent").initContainers ?? [])]) {
      const { capabilities, ...rest } = container.securityContext;
      assert.deepEqual(capabilities, { drop: ["ALL"] }, container.name);
      assert.equal(rest.privileged, false, container.name);
      assert.equal(rest.allowPrivilegeEscalation, false, container.name);
      assert.equal(rest.runAsNonRoot, true, container.name);
      assert.equal(rest.runAsUser, defaults().agent.agentUid, container.name);
      assert.equal(rest.runAsGroup, defaults().agent.agentGid, container.name);
      assert.equal(rest.readOnlyRootFilesystem, true, container.name);
    }
    assert.deepEqual(container("agent").securityContext.seccompProfile, {
      type: "Localhost",
      localhostProfile: "orlop/agent.json",
    });
  });
  test("shares no namespace with the node and holds no token of the API server", () => {
    const { hostPID, hostNetwork, hostIPC, automountServiceAccountToken } = podOf("agent");
    assert.deepEqual([hostPID, hostNetwork, hostIPC, automountServiceAccountToken], [false, false, undefined, false]);
  });
  test("of the node's files it is given the run and state directories, and the keeper's to read", () => {
    const paths = podOf("agent").volumes.flatMap(({ hostPath }) => (hostPath === undefined ? [] : [hostPath]));
    const { agent, keeper } = defaults();
    assert.deepEqual(paths, [
      { path: agent.runDir, type: "DirectoryOrCreate" },
      { path: agent.stateDir, type: "DirectoryOrCreate" },
      { path: keeper.directory, type: "DirectoryOrCreate" },
    ]);
    assert.equal(isBelow(keeper.socket, container("agent").volumeMounts)?.readOnly, true);
  });
  test("is probed where it answers", () => {
    assert.deepEqual(container("agent").readinessProbe?.httpGet, { path: "/healthz/ready", port: 15021 });
    assert.equal(config().agent.ready.port, 15021);
  });
});

describe("the keeper's pod", () => {
  test("has four capabilities (what happens without each: confined-node.test.ts), and a writable root in no container", () => {
    assert.deepEqual(container("keeper").securityContext.capabilities, {
      drop: ["ALL"],
      add: keeperLives,
    });
    assert.equal(container("keeper").securityContext.runAsGroup, defaults().keeper.agentGid);
    for (const container of [...podOf("keeper").containers, ...(podOf("keeper").initContainers ?? [])]) {
      assert.equal(container.securityContext.privileged, false, container.name);
      assert.equal(container.securityContext.readOnlyRootFilesystem, true, container.name);
      assert.deepEqual(container.securityContext.capabilities.drop, ["ALL"], container.name);
    }
  });
  test("sees the node's processes and network, since it finds pods by them; holds no token", () => {
    const { hostPID, hostNetwork, automountServiceAccountToken } = podOf("keeper");
    assert.deepEqual([hostPID, hostNetwork, automountServiceAccountToken], [true, true, false]);
  });
  test("sees the node's cgroups read-only, and finds the pods' among them", () => {
    assert.equal(config().keeper.podsCgroup, "auto");
    assert.equal(isBelow(defaults().keeper.podsCgroup, container("keeper").volumeMounts)?.readOnly, true);
  });
});

describe("both pods", () => {
  test("mount what the configuration names, where its defaults look for it", () => {
    const wanted = defaults();
    const { keeper, agent } = config();
    assert.deepEqual([keeper.directory, keeper.bpffs], [wanted.keeper.directory, wanted.keeper.bpffs]);
    const ofKeeper = container("keeper").volumeMounts;
    for (const path of [keeper.socket, keeper.stateDirectory, keeper.bpffs, wanted.keeper.podsCgroup])
      assert.ok(isBelow(path, ofKeeper), path);
    const ofAgent = container("agent").volumeMounts;
    const { source, admin, ca } = agent;
    assert.ok(source.kind === "file" && ca.provider === "embedded");
    for (const path of [agent.keeper.socket, admin.socket, source.path, source.lastGoodFile, ca.rootFile]) {
      assert.ok(isBelow(path, ofAgent), path);
    }
    for (const path of [admin.socket, source.lastGoodFile, dirname(ca.rootFile)]) {
      assert.notEqual(isBelow(path, ofAgent)?.readOnly, true, `${path} is written to`);
    }
  });
  test("mount only volumes that are there, and every volume is mounted", () => {
    for (const program of ["keeper", "agent"] as const) {
      const { containers, initContainers, volumes } = podOf(program);
      const mounted = [...containers, ...(initContainers ?? [])].flatMap(({ volumeMounts }) =>
        volumeMounts.map(({ name }) => name),
      );
      assert.deepEqual([...new Set(mounted)].sort(), volumes.map(({ name }) => name).sort(), program);
    }
  });
  test("know their node by its name in the cluster", () => {
    for (const program of ["keeper", "agent"] as const) {
      assert.ok(
        container(program).env?.some(({ name }) => name === "ORLOP_NODE"),
        program,
      );
    }
    assert.equal(config({ ORLOP_NODE: "worker-7.example" }).keeper.node, "worker-7.example");
  });
  test("run the programs as orlop run does, flag for flag", () => {
    for (const [program, flags] of [
      ["keeper", keeperFlags],
      ["agent", agentFlags],
    ] as const) {
      const { command, args } = container(program);
      assert.deepEqual(command, ["node", ...flags, "/opt/orlop/agent/main.ts"]);
      assert.deepEqual(args, [program, "-c", "/etc/orlop/node/orlop.yaml"]);
    }
  });
  test("run one image, which the Dockerfile's comment and the version name", () => {
    const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
    const all = (["keeper", "agent"] as const).flatMap((program) => [
      ...podOf(program).containers,
      ...(podOf(program).initContainers ?? []),
    ]);
    assert.deepEqual([...new Set(all.map(({ image }) => image))], [`orlop:${version}`]);
  });
});

test("the mesh in the ConfigMap is one that the agent takes", async () => {
  const text = object("ConfigMap", "orlop-mesh").data?.["mesh.yaml"] ?? "";
  const { findings } = await translateTexts([{ file: "mesh.yaml", text }], config().agent.settings);
  assert.deepEqual(findings, []);
});
