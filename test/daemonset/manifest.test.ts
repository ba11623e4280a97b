// daemonset/manifest.yaml, control.yaml and cni.yaml: what each pod may do, and that it fits the programs' own configuration. No cluster needed.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import { type ControlConfiguration, readControlConfiguration } from "../../agent/authority/configuration.ts";
import type { Config } from "../../agent/config/config.ts";
import { loadConfig } from "../../agent/config/load.ts";
import { SERVICE_ACCOUNT } from "../../agent/control/kubernetes/credentials.ts";
import { watchedKinds } from "../../agent/control/kubernetes/watched-kinds.ts";
import { keeperLives } from "../../agent/process/privileges.ts";
import { agentFlags, keeperFlags } from "../../agent/process/run.ts";
import { allowedTo, container, documents, type Mount, object, podOf } from "./manifest.ts";

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
/** What `orlop control` reads. */
function controlSpec(): ControlConfiguration["spec"] {
  const file = join(folder, "control.yaml");
  writeFileSync(file, object("ConfigMap", "orlop-control").data?.["control.yaml"] ?? "");
  return readControlConfiguration(file, { KUBERNETES_SERVICE_HOST: "10.96.0.1" }).spec;
}
/** Sources of the projected volume that the agent's container has at this path, read-only. */
function projectedAt(path: string): unknown {
  const mount = container("agent").volumeMounts.find(({ mountPath }) => mountPath === path);
  assert.equal(mount?.readOnly, true, path);
  const volume = podOf("agent").volumes.find(({ name }) => name === mount?.name);
  return (volume?.projected as { readonly sources: unknown } | undefined)?.sources;
}
/** Where a node of Kubernetes has them. */
const CGROUPS = "/sys/fs/cgroup";
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
      "CustomResourceDefinition limitpolicies.orlop.dev",
      "ClusterRole orlop-agent",
      "ClusterRoleBinding orlop-agent",
      "DaemonSet orlop-keeper",
      "DaemonSet orlop-agent",
      "ServiceAccount orlop-control",
      "ClusterRole orlop-control",
      "ClusterRoleBinding orlop-control",
      "Role orlop-control",
      "RoleBinding orlop-control",
      "ConfigMap orlop-control",
      "Service orlop-control",
      "PodDisruptionBudget orlop-control",
      "Deployment orlop-control",
      // It is deleted before the rights by which its installers hear of that.
      "DaemonSet orlop-cni",
      "ServiceAccount orlop-cni",
      "ClusterRole orlop-cni",
      "ClusterRoleBinding orlop-cni",
      "Role orlop-cni",
      "RoleBinding orlop-cni",
    ],
  );
  for (const { apiVersion, kind, metadata } of documents()) {
    assert.match(apiVersion, /^((apps|policy|apiextensions\.k8s\.io|rbac\.authorization\.k8s\.io)\/)?v1$/);
    const isOfCluster = kind === "Namespace" || kind === "CustomResourceDefinition" || kind.startsWith("Cluster");
    if (!isOfCluster) assert.equal(metadata.namespace, "orlop-system");
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
  test("has two tokens of its own account, each for an hour: for the API server, and for the control program", () => {
    const { serviceAccountName, automountServiceAccountToken } = podOf("agent");
    assert.deepEqual([serviceAccountName, automountServiceAccountToken], ["orlop-agent", false]);
    assert.deepEqual(projectedAt(SERVICE_ACCOUNT), [
      { serviceAccountToken: { path: "token", expirationSeconds: 3_600 } },
      { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
    ]);
    const { ca } = config().agent;
    assert.ok(ca.provider === "service");
    const { audience } = controlSpec();
    assert.deepEqual(projectedAt(dirname(ca.tokenFile)), [
      { serviceAccountToken: { path: basename(ca.tokenFile), audience, expirationSeconds: 3_600 } },
    ]);
  });
  test("may read what the agent reads, and change nothing", () => {
    const watched = watchedKinds.map(({ apiVersion, path: url }) => {
      const group = apiVersion.includes("/") ? apiVersion.split("/")[0] : "";
      return `${group}/${url.split("/").at(-1)} get list watch`;
    });
    const definitions = "apiextensions.k8s.io/customresourcedefinitions get";
    assert.deepEqual(allowedTo("ClusterRole", "orlop-agent").toSorted(), [...watched, definitions].toSorted());
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

describe("the control program's pod", () => {
  test("has no capability, no root and no writable root, and nothing of the node", () => {
    const { containers, initContainers, volumes, hostPID, hostNetwork } = podOf("control");
    const { securityContext } = container("control");
    const { capabilities, privileged, allowPrivilegeEscalation, readOnlyRootFilesystem } = securityContext;
    assert.deepEqual(capabilities, { drop: ["ALL"] });
    assert.deepEqual([privileged, allowPrivilegeEscalation, readOnlyRootFilesystem], [false, false, true]);
    const { runAsNonRoot, runAsUser } = podOf("control").securityContext ?? {};
    assert.deepEqual([runAsNonRoot, runAsUser], [true, defaults().agent.agentUid]);
    assert.deepEqual([containers.length, initContainers, hostPID, hostNetwork], [1, undefined, undefined, undefined]);
    assert.ok(volumes.every((volume) => !("hostPath" in volume)));
  });
  test("may do what docs/reference/authority.md says, and no more", () => {
    assert.deepEqual(allowedTo("ClusterRole", "orlop-control"), [
      "authentication.k8s.io/tokenreviews create",
      "/pods get list",
    ]);
    assert.deepEqual(allowedTo("Role", "orlop-control"), [
      "/secrets create",
      "/configmaps create",
      `/secrets get of ${controlSpec().rootSecret}`,
      `/configmaps get update of ${controlSpec().rootConfigMap}`,
    ]);
  });
  test("is where the agent asks, under a name of its certificate, and trusts the agent's account", () => {
    const { ca } = config().agent;
    assert.ok(ca.provider === "service");
    const { namespace, listen, agentAccounts, rootConfigMap } = controlSpec();
    assert.equal(ca.address, `https://orlop-control.${namespace}.svc:${listen.port}`);
    assert.deepEqual(agentAccounts, ["orlop-system/orlop-agent"]);
    const roots = podOf("agent").volumes.find(({ name }) => name === "roots");
    assert.deepEqual(roots?.configMap, { name: rootConfigMap });
    assert.ok(container("agent").volumeMounts.some(({ mountPath }) => mountPath === dirname(ca.rootsFile)));
  });
});

describe("the CNI installer's pod", () => {
  test("has no capability and no writable root, and shares no namespace with the node; it is root for three directories", () => {
    const { capabilities, ...rest } = container("cni").securityContext;
    assert.deepEqual(capabilities, { drop: ["ALL"] });
    assert.deepEqual(rest, {
      ...{ privileged: false, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true },
      ...{ runAsUser: 0, runAsGroup: 0, seccompProfile: { type: "RuntimeDefault" } },
    });
    const { hostPID, hostNetwork, hostIPC, initContainers } = podOf("cni");
    assert.deepEqual([hostPID, hostNetwork, hostIPC, initContainers], [false, false, undefined, undefined]);
    const { cni } = config();
    assert.ok(cni !== null);
    const paths = podOf("cni").volumes.flatMap(
      ({ hostPath }) => (hostPath as { path: string } | undefined)?.path ?? [],
    );
    assert.deepEqual(paths, [cni.confDir, cni.binDir, cni.stateDir]);
    for (const directory of paths)
      assert.notEqual(isBelow(directory, container("cni").volumeMounts)?.readOnly ?? false, true, directory);
  });
  test("may read namespaces and its own DaemonSet, and change nothing", () => {
    const { cni } = config();
    assert.ok(cni !== null);
    const { namespace, name } = cni.daemonSet;
    assert.equal(object("DaemonSet", name).metadata.namespace, namespace);
    assert.deepEqual(allowedTo("ClusterRole", "orlop-cni"), ["/namespaces get list watch"]);
    assert.deepEqual(allowedTo("Role", "orlop-cni"), [`apps/daemonsets get list watch of ${name}`]);
    assert.deepEqual(cni.exempt, [namespace], "pods of Orlop's own namespace never wait for it");
  });
  test("asks the keeper where the keeper answers, and is probed where it answers", () => {
    const { cni, keeper } = config();
    assert.equal(cni?.socket, `${keeper.directory}/cni.sock`);
    assert.equal(container("cni").readinessProbe?.httpGet.port, cni?.ready.port);
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
    assert.equal(isBelow(CGROUPS, container("keeper").volumeMounts)?.readOnly, true);
  });
});

describe("the pods of a node", () => {
  test("mount what the configuration names, where its defaults look for it", () => {
    const wanted = defaults();
    const { keeper, agent } = config();
    assert.deepEqual([keeper.directory, keeper.bpffs], [wanted.keeper.directory, wanted.keeper.bpffs]);
    const ofKeeper = container("keeper").volumeMounts;
    for (const path of [keeper.socket, keeper.stateDirectory, keeper.bpffs, CGROUPS])
      assert.ok(isBelow(path, ofKeeper), path);
    const ofAgent = container("agent").volumeMounts;
    const { source, admin, ca } = agent;
    assert.deepEqual(source, {
      ...{ kind: "kubernetes", api: { server: "https://10.96.0.1:443" } },
      lastGoodFile: "/var/lib/orlop/last-good-cluster.jsonl",
    });
    assert.ok(ca.provider === "service");
    for (const path of [agent.keeper.socket, admin.socket, source.lastGoodFile, ca.tokenFile, ca.rootsFile]) {
      assert.ok(isBelow(path, ofAgent), path);
    }
    for (const path of [admin.socket, source.lastGoodFile]) {
      assert.notEqual(isBelow(path, ofAgent)?.readOnly, true, `${path} is written to`);
    }
  });
  test("mount only volumes that are there, and every volume is mounted", () => {
    for (const program of ["keeper", "agent", "control"] as const) {
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
      assert.deepEqual(command, ["node", ...flags, "/opt/orlop/agent/main.js"]);
      assert.deepEqual(args, [program, "-c", "/etc/orlop/node/orlop.yaml"]);
    }
  });
  test("run one image, which the Dockerfile's comment and the version name", () => {
    const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
    const all = (["keeper", "agent", "control"] as const).flatMap((program) => [
      ...podOf(program).containers,
      ...(podOf(program).initContainers ?? []),
    ]);
    assert.deepEqual([...new Set(all.map(({ image }) => image))], [`orlop:${version}`]);
  });
});
