// daemonset/manifest.yaml: what each pod may do, and that it fits the programs' own configuration. No cluster needed.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import { type Config, loadConfig } from "../../agent/config.ts";
import { SERVICE_ACCOUNT } from "../../agent/control/kubernetes/credentials.ts";
import { watchedKinds } from "../../agent/control/kubernetes/watched-kinds.ts";
import { keeperLives } from "../../agent/process/privileges.ts";
import { agentFlags, keeperFlags } from "../../agent/process/run.ts";
import { container, documents, type Mount, object, podOf, rules } from "./manifest.ts";

const folder = mkdtempSync(join(tmpdir(), "orlop-manifest-"));
after(() => rmSync(folder, { recursive: true }));

/** What the pods of the manifest read. */
function config(env: Readonly<Record<string, string>> = {}): Config {
  const file = join(folder, "orlop.yaml");
  writeFileSync(file, object("ConfigMap", "orlop-node").data?.["orlop.yaml"] ?? "");
  return loadConfig(file, { ORLOP_NODE: "node-1", KUBERNETES_SERVICE_HOST: "10.96.0.1", ...env });
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
      "ServiceAccount orlop-keeper",
      "ServiceAccount orlop-agent",
      "ClusterRole orlop-agent",
      "ClusterRoleBinding orlop-agent",
      "DaemonSet orlop-keeper",
      "DaemonSet orlop-agent",
    ],
  );
  for (const { apiVersion, kind, metadata } of documents()) {
    assert.match(apiVersion, /^((apps|rbac\.authorization\.k8s\.io)\/)?v1$/);
    if (kind !== "Namespace" && !kind.startsWith("Cluster")) assert.equal(metadata.namespace, "orlop-system");
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
  test("shares no namespace with the node", () => {
    const { hostPID, hostNetwork, hostIPC } = podOf("agent");
    assert.deepEqual([hostPID, hostNetwork, hostIPC], [false, false, undefined]);
  });
  test("has a token of its own account for an hour, where the agent looks for it, in no other container", () => {
    const { serviceAccountName, automountServiceAccountToken, volumes, initContainers = [] } = podOf("agent");
    assert.deepEqual([serviceAccountName, automountServiceAccountToken], ["orlop-agent", false]);
    const token = volumes.find((volume) => "projected" in volume);
    assert.deepEqual(token?.projected, {
      sources: [
        { serviceAccountToken: { path: "token", expirationSeconds: 3_600 } },
        { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
      ],
    });
    const mount = container("agent").volumeMounts.find((found) => found.name === token?.name);
    assert.deepEqual([mount?.mountPath, mount?.readOnly], [SERVICE_ACCOUNT, true]);
    for (const { volumeMounts } of initContainers) assert.ok(volumeMounts.every(({ name }) => name !== token?.name));
  });
  test("may read what the agent reads, and change nothing", () => {
    const allowed = rules("orlop-agent").flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) => resources.map((resource) => `${group}/${resource} ${verbs.join(" ")}`)),
    );
    const watched = watchedKinds.map(({ apiVersion, path: url }) => {
      const group = apiVersion.includes("/") ? apiVersion.split("/")[0] : "";
      return `${group}/${url.split("/").at(-1)} get list watch`;
    });
    const definitions = "apiextensions.k8s.io/customresourcedefinitions get";
    assert.deepEqual(allowed.toSorted(), [...watched, definitions].toSorted());
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
    assert.deepEqual(source, {
      ...{ kind: "kubernetes", api: { server: "https://10.96.0.1:443" } },
      lastGoodFile: "/var/lib/orlop/last-good-cluster.jsonl",
    });
    assert.ok(ca.provider === "embedded");
    for (const path of [agent.keeper.socket, admin.socket, source.lastGoodFile, ca.rootFile]) {
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
