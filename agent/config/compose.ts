// start-up · the spec of a NodeConfig → the Config of the node's programs: paths that follow from others, and what Kubernetes decides. Pure.
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { NodeSpec } from "../control/kinds/node-config.ts";
import { ConfigError } from "../control/kinds/value.ts";
import type { CaConfig, CniConfig, Config, SourceConfig } from "./config.ts";

/** @throws ConfigError when fields of the spec contradict each other */
export function compose(file: string, spec: NodeSpec, env: Readonly<Record<string, string | undefined>>): Config {
  const { runDir, stateDir, bpffs, podsCgroup, heartbeatLimitMs, agentUid, agentGid, node } = spec;
  const keeperDirectory = `${runDir}-keeper`;
  const keeperSocket = `${keeperDirectory}/keeper.sock`;
  const { cluster, network, trustDomain, rootNamespace, clusterDomain } = spec;
  const source = sourceOf(file, spec, env);
  // Kubernetes sets this variable in each of its pods.
  const onKubernetes = Boolean(env.KUBERNETES_SERVICE_HOST);
  return {
    keeper: {
      node,
      directory: keeperDirectory,
      socket: keeperSocket,
      stateDirectory: `${stateDir}-keeper`,
      bpffs,
      podsCgroup: podsCgroup ?? (onKubernetes ? "auto" : "mounted"),
      heartbeatLimitMs,
      nodeAccess: {
        mode: spec.nodeAccess ?? (onKubernetes ? "kubelet" : "none"),
        kubeletCgroup: spec.kubeletCgroup,
        from: spec.nodeAccessFrom,
      },
      agentUid,
      agentGid,
      log: { level: spec.log.level },
    },
    agent: {
      settings: {
        node,
        cluster,
        network,
        trustDomain,
        rootNamespace,
        clusterDomain,
        honourIstioLabels: spec.istioLabels === "honoured",
        runtimeClasses: spec.runtimeClasses,
      },
      runDir,
      stateDir,
      source,
      ca: caOf(file, spec),
      dataThreads: spec.dataThreads,
      askForHybrid: spec.postQuantum === "asked",
      recordLayer: spec.tls.recordLayer,
      unreadMs: spec.unreadTimeoutSeconds * 1_000,
      keeper: { socket: keeperSocket },
      admin: { socket: `${runDir}/agent.sock` },
      metrics: spec.metrics,
      ready: spec.ready,
      log: spec.log,
      agentUid,
      agentGid,
    },
    cni: source.kind === "kubernetes" ? cniOf(spec, source.api) : null,
  };
}

function cniOf({ cni, runDir, istioLabels, ready, log }: NodeSpec, api: CniConfig["api"]): CniConfig {
  const { confDir, binDir, stateDir, withoutList } = cni;
  const [namespace = "", name = ""] = cni.daemonSet.split("/");
  return {
    ...{ api, confDir, binDir, stateDir, withoutList, ready },
    honourIstioLabels: istioLabels === "honoured",
    socket: `${runDir}-keeper/cni.sock`,
    binary: fileURLToPath(new URL("../../build/orlop-cni", import.meta.url)),
    exempt: [namespace],
    daemonSet: { namespace, name },
    logLevel: log.level,
  };
}

/** @throws ConfigError when a field is of another authority than the spec's, or the authority has no address */
function caOf(file: string, { ca }: Pick<NodeSpec, "ca">): CaConfig {
  const refused = (what: string, why: string, fix: string): ConfigError =>
    new ConfigError([{ code: "ORL4105", from: { file, line: 0, column: 0 }, what, why, fix }]);
  const { provider, leafTtlSeconds, rootFile, address, tokenFile, rootsFile, serverRootsFile } = ca;
  const unread = provider === "service" ? { rootFile } : { address, tokenFile, rootsFile, serverRootsFile };
  for (const [name, value] of Object.entries(unread)) {
    if (value === null || value === "") continue;
    throw refused(
      `spec.ca.${name} is not read with provider: ${provider}`,
      "certificates would come from another authority than it seems",
      `remove it, or write provider: ${provider === "service" ? "embedded" : "service"}`,
    );
  }
  if (provider === "embedded") return { provider, rootFile: rootFile ?? "/var/lib/orlop/root.pem", leafTtlSeconds };
  if (address === "")
    throw refused(
      "spec.ca has no address, with provider: service",
      "the agent does not know whom to ask for certificates",
      "write address: https://host:port",
    );
  return {
    ...{ provider, address, leafTtlSeconds },
    tokenFile: tokenFile ?? "/var/run/secrets/orlop/token",
    rootsFile: rootsFile ?? "/var/run/orlop-roots/root-cert.pem",
    serverRootsFile: serverRootsFile ?? "",
  };
}

/** @throws ConfigError when the spec names two sources, or an API server that nobody can find */
function sourceOf(
  file: string,
  { source, mesh, kubeconfig, stateDir }: NodeSpec,
  env: Readonly<Record<string, string | undefined>>,
): SourceConfig {
  const from = { file, line: 0, column: 0 };
  const refused = (what: string, why: string, fix: string): ConfigError =>
    new ConfigError([{ code: "ORL4105", from, what, why, fix }]);
  const other = source === "file" ? { name: "kubeconfig", value: kubeconfig } : { name: "mesh", value: mesh };
  if (other.value !== "")
    throw refused(
      `spec.${other.name} is not read with source: ${source}`,
      "a mesh that nobody reads would look as if it were in force",
      `remove spec.${other.name}, or write source: ${source === "file" ? "kubernetes" : "file"}`,
    );
  if (source === "file") {
    const path = mesh === "" ? resolve(file) : resolve(dirname(file), mesh);
    return { kind: "file", path, lastGoodFile: `${stateDir}/last-good.json` };
  }
  const lastGoodFile = `${stateDir}/last-good-cluster.jsonl`;
  if (kubeconfig !== "")
    return { kind: "kubernetes", api: { kubeconfig: resolve(dirname(file), kubeconfig) }, lastGoodFile };
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = "443" } = env;
  if (host === undefined || host === "")
    throw refused(
      "source: kubernetes, and this is no pod of a cluster",
      "only in a pod does the environment say where the API server is (KUBERNETES_SERVICE_HOST)",
      "run it in a pod, or name a kubeconfig",
    );
  return {
    kind: "kubernetes",
    api: { server: `https://${host.includes(":") ? `[${host}]` : host}:${port}` },
    lastGoodFile,
  };
}
