// start-up · -c FILE and ORLOP_* of the environment → one immutable Config, a slice per room. Throws ConfigError with file:line:col.
import { hash } from "node:crypto";
import {
  closeSync,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type NodeSpec, nodeConfigKind } from "./control/kinds/node-config.ts";
import type { NodeSettings } from "./control/kinds/node-settings.ts";
import { ConfigError, type MapEntry, type Problem, Report, type Value } from "./control/kinds/value.ts";
import { MAX_FILE_BYTES, parseYaml } from "./control/static-file/parse.ts";

/** All that the privileged program reads. */
export type KeeperConfig = {
  readonly node: string;
  /** Its own, beside the agent's run directory and not in it: `<runDir>-keeper`. Nobody else may write there. */
  readonly directory: string;
  /** The unix socket it serves, in that directory. */
  readonly socket: string;
  /** `<stateDir>-keeper`: its own as well, and outlives a reboot. */
  readonly stateDirectory: string;
  readonly bpffs: string;
  /** The directory above all pods, or "auto": the keeper looks for the kubelet's. */
  readonly podsCgroup: string;
  /** A heartbeat older than this counts as no agent. */
  readonly heartbeatLimitMs: number;
  /** Programs of the node that reach its pods past their policy. */
  readonly nodeAccess: {
    readonly mode: "none" | "kubelet" | "node";
    readonly kubeletCgroup: string;
    readonly from: readonly string[];
  };
  readonly agentUid: number;
  readonly agentGid: number;
  readonly log: { readonly level: NodeSpec["log"]["level"] };
};

/** Who says what the mesh is, and where its last good form is kept. */
export type SourceConfig =
  /** A file, or a directory of files. */
  | { readonly kind: "file"; readonly path: string; readonly lastGoodFile: string }
  | {
      readonly kind: "kubernetes";
      /** `https://host:port` of the pod's cluster, or a kubeconfig. */
      readonly api: { readonly server: string } | { readonly kubeconfig: string };
      readonly lastGoodFile: string;
    };

/** Who signs the certificates of this node's pods. */
export type CaConfig =
  | { readonly provider: "embedded"; readonly rootFile: string; readonly leafTtlSeconds: number }
  | {
      readonly provider: "service";
      /** `https://host:port`. */
      readonly address: string;
      readonly tokenFile: string;
      readonly rootsFile: string;
      /** Empty: `rootsFile`. */
      readonly serverRootsFile: string;
      readonly leafTtlSeconds: number;
    };

export type AgentConfig = {
  readonly settings: NodeSettings;
  readonly runDir: string;
  /** Outlives a reboot. */
  readonly stateDir: string;
  readonly source: SourceConfig;
  readonly ca: CaConfig;
  readonly dataThreads: number;
  /** Of clients that offer a hybrid key exchange without a key share for it. */
  readonly askForHybrid: boolean;
  /** Of tunnels, behind their handshakes. */
  readonly recordLayer: NodeSpec["tls"]["recordLayer"];
  readonly keeper: { readonly socket: string };
  readonly admin: { readonly socket: string };
  readonly metrics: { readonly host: string; readonly port: number };
  readonly ready: { readonly host: string; readonly port: number };
  /** `access`: stdout, off or a path. */
  readonly log: NodeSpec["log"];
  readonly agentUid: number;
  readonly agentGid: number;
};

/** All that `orlop cni` reads. */
export type CniConfig = {
  readonly api: Extract<SourceConfig, { readonly kind: "kubernetes" }>["api"];
  readonly honourIstioLabels: boolean;
  /** Where the plug-in asks the keeper. */
  readonly socket: string;
  readonly confDir: string;
  readonly binDir: string;
  readonly stateDir: string;
  /** Of the plug-in, in this installation. */
  readonly binary: string;
  readonly withoutList: "pass" | "refuse";
  readonly exempt: readonly string[];
  readonly daemonSet: { readonly namespace: string; readonly name: string };
  readonly ready: { readonly host: string; readonly port: number };
  readonly logLevel: NodeSpec["log"]["level"];
};

/** `cni`: null unless the mesh is a cluster's. */
export type Config = { readonly keeper: KeeperConfig; readonly agent: AgentConfig; readonly cni: CniConfig | null };

/**
 * Environment names and the spec fields they overrule. Others that begin with ORLOP_ are somebody else's (Kubernetes
 * injects ORLOP_SERVICE_HOST into a pod when a Service is called orlop) and are left alone.
 */
const overrides: Readonly<Record<string, { readonly path: readonly string[]; readonly type: "string" | "number" }>> = {
  ORLOP_NODE: { path: ["node"], type: "string" },
  ORLOP_CLUSTER: { path: ["cluster"], type: "string" },
  ORLOP_NETWORK: { path: ["network"], type: "string" },
  ORLOP_TRUST_DOMAIN: { path: ["trustDomain"], type: "string" },
  ORLOP_RUN_DIR: { path: ["runDir"], type: "string" },
  ORLOP_STATE_DIR: { path: ["stateDir"], type: "string" },
  ORLOP_BPFFS: { path: ["bpffs"], type: "string" },
  ORLOP_PODS_CGROUP: { path: ["podsCgroup"], type: "string" },
  ORLOP_MESH: { path: ["mesh"], type: "string" },
  ORLOP_CA_ROOT_FILE: { path: ["ca", "rootFile"], type: "string" },
  ORLOP_CA_ADDRESS: { path: ["ca", "address"], type: "string" },
  ORLOP_TLS_RECORD_LAYER: { path: ["tls", "recordLayer"], type: "string" },
  ORLOP_DATA_THREADS: { path: ["dataThreads"], type: "number" },
  ORLOP_LOG_LEVEL: { path: ["log", "level"], type: "string" },
  ORLOP_LOG_ACCESS: { path: ["log", "access"], type: "string" },
  ORLOP_LOG_REQUESTS: { path: ["log", "requests"], type: "string" },
};

/**
 * Reads the node's configuration. Mesh documents in the same file are checked by the source that reads them, not here.
 * @throws ConfigError when the file cannot be read, is not YAML, or its NodeConfig is not exactly of its schema.
 */
export function loadConfig(file: string, env: Readonly<Record<string, string | undefined>> = process.env): Config {
  return compose(file, specOf(file, nodeConfigs(file), env), env);
}

/**
 * For a program that must come up: the configuration as the file has it, which is kept, or as it was read last, with what is wrong
 * with the file now.
 * @param keepIn a directory in which nobody but root may write
 * @throws ConfigError when the file is wrong and none was kept
 */
export function loadConfigOrLast(
  file: string,
  keepIn: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): { readonly config: Config; readonly problems: readonly Problem[] } {
  const path = resolve(file);
  const copy = join(keepIn, `node-config-${hash("sha256", path, "hex").slice(0, 16)}.yaml`);
  try {
    // Read once: of a file that is just being written a second look may see what the first did not.
    const documents = nodeConfigs(file);
    const spec = specOf(file, documents, env);
    // A file without its NodeConfig may be half written: defaults in its place would be another node.
    if (documents.length > 0) keepSpec(copy, spec);
    else if (existsSync(copy)) throw new ConfigError([nodeConfigGone(file)]);
    return { config: compose(file, spec, env), problems: [] };
  } catch (error) {
    if (!(error instanceof ConfigError) || !existsSync(copy)) throw error;
    // What is kept has the environment's values of then; today's are laid over them.
    return { config: compose(file, specOf(copy, nodeConfigs(copy), env), env), problems: error.problems };
  }
}

const nodeConfigGone = (file: string): Problem => ({
  code: "ORL4107",
  from: { file, line: 0, column: 0 },
  what: "it holds no NodeConfig any more",
  why: "without it the node would be another",
  fix: "write it again; for a node of defaults alone, write a NodeConfig with spec: {}",
});

/** A program that is not root, or has no such directory, keeps nothing. */
function keepSpec(copy: string, spec: NodeSpec): void {
  // What means "not set" cannot be written.
  const { mesh, kubeconfig, nodeAccess, kubeletCgroup, podsCgroup, ca, ...rest } = spec;
  const written = {
    ...rest,
    ca: Object.fromEntries(Object.entries(ca).filter(([, value]) => value !== null && value !== "")),
    ...(mesh === "" ? {} : { mesh }),
    ...(kubeconfig === "" ? {} : { kubeconfig }),
    ...(nodeAccess === null ? {} : { nodeAccess }),
    ...(podsCgroup === null ? {} : { podsCgroup }),
    ...(kubeletCgroup === "" ? {} : { kubeletCgroup }),
  };
  const text = JSON.stringify({ apiVersion: "orlop.dev/v1alpha1", kind: "NodeConfig", spec: written });
  try {
    if (existsSync(copy) && readFileSync(copy, "utf8") === text) return;
    mkdirSync(dirname(copy), { recursive: true, mode: 0o755 });
    const { uid, mode } = lstatSync(dirname(copy));
    if (uid !== process.geteuid?.() || (mode & 0o022) !== 0) return;
    const draft = `${copy}.${process.pid}`;
    writeFileSync(draft, text, { mode: 0o644 });
    renameSync(draft, copy);
  } catch {
    // The file itself is what counts; without the copy a later mistake in it is fatal, as it was before.
  }
}

const nodeConfigs = (file: string): readonly Value[] =>
  parseYaml(file, readBounded(file)).filter((document) => textOf(document, "kind") === "NodeConfig");

function specOf(
  file: string,
  [first, second]: readonly Value[],
  env: Readonly<Record<string, string | undefined>>,
): NodeSpec {
  const report = new Report();
  if (second) {
    report.error({
      code: "ORL4105",
      from: second.from,
      what: "a second NodeConfig",
      why: "a node cannot be two",
      fix: "keep one",
    });
  }
  const read = nodeConfigKind(overlaid(first ?? blank(file), env), "", report);
  report.throwIfAny();
  if (!read) throw new ConfigError([]);
  return read.spec;
}

function compose(file: string, spec: NodeSpec, env: Readonly<Record<string, string | undefined>>): Config {
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
      podsCgroup: podsCgroup ?? (onKubernetes ? "auto" : "/sys/fs/cgroup"),
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
    binary: fileURLToPath(new URL("../build/orlop-cni", import.meta.url)),
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

function readBounded(file: string): string {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(file, "r");
    if (fstatSync(descriptor).size > MAX_FILE_BYTES) throw new Error(`it is larger than ${MAX_FILE_BYTES} bytes`);
    return readFileSync(descriptor, "utf8");
  } catch (error) {
    throw new ConfigError([
      {
        code: "ORL4107",
        from: { file, line: 0, column: 0 },
        what: `cannot read it: ${error instanceof Error ? error.message : String(error)}`,
        why: "without it the node does not know which mesh it belongs to",
        fix: "give the path of a readable YAML file with -c",
      },
    ]);
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

function textOf(value: Value, name: string): string | undefined {
  const entry = value.type === "map" ? value.entries.get(name)?.value : undefined;
  return entry?.type === "string" ? entry.value : undefined;
}

function mapValue(from: Value["from"], entries: readonly (readonly [string, Value])[]): Value {
  return {
    type: "map",
    from,
    entries: new Map(entries.map(([name, value]) => [name, { keyFrom: value.from, value }])),
  };
}

/** The NodeConfig of a file that has none: every default. */
function blank(file: string): Value {
  const from = { file, line: 0, column: 0 };
  return mapValue(from, [
    ["apiVersion", { type: "string", value: "orlop.dev/v1alpha1", from }],
    ["kind", { type: "string", value: "NodeConfig", from }],
    ["spec", mapValue(from, [])],
  ]);
}

/** The document with the environment's values laid over its spec; a mistake in one is reported under the variable's name. */
function overlaid(document: Value, env: Readonly<Record<string, string | undefined>>): Value {
  let out = document;
  for (const [name, { path, type }] of Object.entries(overrides)) {
    const given = env[name];
    if (given === undefined) continue;
    const from = { file: `environment ${name}`, line: 0, column: 0 };
    const isNumber = type === "number" && /^-?[0-9]{1,15}$/.test(given);
    const value: Value = isNumber
      ? { type: "number", value: Number(given), from }
      : { type: "string", value: given, from };
    out = withPath(out, ["spec", ...path], value);
  }
  return out;
}

function withPath(target: Value, path: readonly string[], value: Value): Value {
  const [name, ...rest] = path;
  if (name === undefined) return value;
  // What is not a map is left as it is: the schema reports it at its own position.
  if (target.type !== "map") return target;
  const old: MapEntry | undefined = target.entries.get(name);
  const child = withPath(old?.value ?? mapValue(value.from, []), rest, value);
  return {
    ...target,
    entries: new Map(target.entries).set(name, { keyFrom: old?.keyFrom ?? value.from, value: child }),
  };
}
