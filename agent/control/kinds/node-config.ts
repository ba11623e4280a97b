// any thread · NodeConfig (orlop.dev/v1alpha1): what one node must know before it knows the mesh. Schema and defaults.
import { availableParallelism, hostname } from "node:os";
import { configDocument, listener } from "./config-document.ts";
import { integer, list, object, oneOf, optional, type Read, string, text } from "./schema.ts";

/**
 * The agent's user and group: a number that nobody else has by accident. useradd gives 1000 to 60000 and systemd 60001 to 60705 and 61184
 * to 65519 (systemd/systemd:docs/UIDS-GIDS.md); Debian's packages have numbers of their own from 63434 on (base-passwd's README). What
 * runs in user namespaces begins at 65536, OpenShift's namespaces at 1000000000. Images like 999, 1000, 1001, 10001, 65532 and 65534;
 * 65534 is also what the kernel says of a user that it cannot map. Istio's proxies are 1337, Linkerd's 2102; Cilium's agent is root.
 */
export const AGENT_USER = 61_008;

const straightPath = (path: string): string | undefined =>
  path.startsWith("/") && !path.split("/").includes("..") ? path.replace(/(?<=.)\/+$/, "") : undefined;

export const absolutePath = text(
  "an absolute path",
  straightPath,
  "a daemon has no directory of its own",
  "start it with / and leave out ..",
);
const podsCgroup = text(
  "auto or an absolute path",
  (path) => (path === "auto" ? path : straightPath(path)),
  "the keeper attaches to the cgroup above all pods",
  "write auto, or a directory below the mount of cgroup v2",
);
export const filePath = text(
  "a path",
  (path) => (path === "" ? undefined : path),
  "an empty path names nothing",
  "write a path; a relative one starts at this file's directory",
);
export const dnsName = text(
  "a DNS name",
  (name) => (/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(name) ? name : undefined),
  "it becomes part of identities and host names",
  "use lower-case letters, digits, - and .",
);
/** SPIFFE-ID §2.1; upper case is refused, not folded, so that one text names one domain. */
export const trustDomain = text(
  "a trust domain",
  (name) => (/^[a-z0-9._-]{1,255}$/.test(name) ? name : undefined),
  "it becomes part of every identity",
  "use lower-case letters, digits, -, . and _",
);
const token = text(
  "a name",
  (name) => (/^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/.test(name) ? name : undefined),
  "it appears in identifiers and metric labels",
  "use letters, digits, -, _ and .",
);
const accessLog = text(
  "stdout, off or an absolute path",
  (where) => (where === "stdout" || where === "off" || where.startsWith("/") ? where : undefined),
  "the access log needs a place to go",
  "write stdout, off or /path/to/file",
);

/** A unit of systemd or a path in the tree of cgroup v2. */
const cgroup = text(
  "a unit or a cgroup's path",
  (name) =>
    /^[A-Za-z0-9][A-Za-z0-9@:._\\-]{0,250}\.(service|scope|slice)$/.test(name) ||
    (/^\/[^/]/.test(name) && !name.split("/").includes(".."))
      ? name.replace(/(?<=.)\/+$/, "")
      : undefined,
  "the keeper looks for the cgroup by it",
  "write a unit such as node-exporter.service, or a path such as /system.slice/node-exporter.service",
);

const daemonSet = text(
  "namespace/name of a DaemonSet",
  (name) =>
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(name) ? name : undefined,
  "the installer lives and goes with it",
  "write orlop-system/orlop-cni, say",
);

export const logLevels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

/** `https://host:port`: nothing else proves who the authority is before it gets the agent's token. */
const authorityAddress = text(
  "an https address",
  (address) =>
    /^https:\/\/([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\]):[1-9][0-9]{0,4}$/.test(address) &&
    Number(address.slice(address.lastIndexOf(":") + 1)) <= 65_535
      ? address
      : undefined,
  "the agent sends its token there",
  "write https://host:port, such as https://orlop-control.orlop-system.svc:15012",
);
const caDefaults = {
  provider: "embedded",
  rootFile: null,
  leafTtlSeconds: 86_400,
  address: "",
  tokenFile: null,
  rootsFile: null,
  serverRootsFile: null,
} as const;
const ca = object({
  /** Who signs: this agent by the root's key in a file, or an authority elsewhere (`orlop control`, istiod). */
  provider: optional(oneOf("embedded", "service"), caDefaults.provider),
  /** Of the embedded authority. null: /var/lib/orlop/root.pem. */
  rootFile: optional(absolutePath, null),
  leafTtlSeconds: optional(integer(60, 90 * 86_400), caDefaults.leafTtlSeconds),
  /** The rest is of provider service. */
  address: optional<string>(authorityAddress, ""),
  /** null: /var/run/secrets/orlop/token. */
  tokenFile: optional(absolutePath, null),
  /** The mesh's roots. null: /var/run/orlop-roots/root-cert.pem. */
  rootsFile: optional(absolutePath, null),
  /** The roots of the authority's own certificate. null: the mesh's. */
  serverRootsFile: optional(absolutePath, null),
});
const tlsDefaults = { recordLayer: "own" } as const;
const tls = object({
  /** Whose record protection tunnels have when their handshake, which is always OpenSSL's, is over: docs/reference/records.md. */
  recordLayer: optional(oneOf("own", "openssl"), tlsDefaults.recordLayer),
});
const logDefaults = { level: "info", access: "stdout", requests: "errors" } as const;
const log = object({
  level: optional(oneOf(...logLevels), logDefaults.level),
  access: optional<string>(accessLog, logDefaults.access),
  /** Which requests of HTTP have a line in the access log: those that somebody may have to look into, or all. */
  requests: optional(oneOf("errors", "all"), logDefaults.requests),
});

const cniDefaults = {
  confDir: "/etc/cni/net.d",
  binDir: "/opt/cni/bin",
  stateDir: "/var/lib/orlop-cni",
  withoutList: "pass",
  daemonSet: "orlop-system/orlop-cni",
} as const;
/** Of `orlop cni` alone, which must see the node's directories under the paths that the node itself has for them. */
const cni = object({
  /** Where the container runtime looks for configurations. */
  confDir: optional<string>(absolutePath, cniDefaults.confDir),
  /** Where it looks for plug-ins. */
  binDir: optional<string>(absolutePath, cniDefaults.binDir),
  /** Of the list of namespaces whose pods wait. */
  stateDir: optional<string>(absolutePath, cniDefaults.stateDir),
  /** What becomes of pods on a node that never had such a list. */
  withoutList: optional(oneOf("pass", "refuse"), cniDefaults.withoutList),
  /** The installer's own: when it is deleted, what was installed goes. Pods of its namespace never wait. */
  daemonSet: optional<string>(daemonSet, cniDefaults.daemonSet),
});

export const nodeSpec = object({
  node: optional(token, hostname()),
  cluster: optional(token, "Kubernetes"),
  /** May be empty: one network. */
  network: optional(string, ""),
  trustDomain: optional(trustDomain, "cluster.local"),
  rootNamespace: optional(dnsName, "istio-system"),
  clusterDomain: optional(dnsName, "cluster.local"),
  runDir: optional(absolutePath, "/run/orlop"),
  /** What must outlive a reboot. The keeper has its own beside it, `<stateDir>-keeper`. */
  stateDir: optional(absolutePath, "/var/lib/orlop"),
  bpffs: optional(absolutePath, "/sys/fs/bpf"),
  /** null: "auto" in a pod of Kubernetes, where cgroup v2 is mounted elsewhere. */
  podsCgroup: optional(podsCgroup, null),
  /** Who says what the mesh is: files of this node, or the API server of a Kubernetes cluster. */
  source: optional(oneOf("file", "kubernetes"), "file"),
  /** Of source file. Empty: the file that holds the NodeConfig. */
  mesh: optional(filePath, ""),
  /** Of source kubernetes. Empty: the pod's service account. */
  kubeconfig: optional(filePath, ""),
  ca: optional<Read<typeof ca>>(ca, caDefaults),
  cni: optional<Read<typeof cni>>(cni, cniDefaults),
  dataThreads: optional(integer(1, 256), availableParallelism()),
  /**
   * Which programs of the node reach its pods past their policy. null: "kubelet" in a pod of Kubernetes, "none" elsewhere.
   */
  nodeAccess: optional(oneOf("none", "kubelet", "node"), null),
  /** Empty: the keeper looks for the process. */
  kubeletCgroup: optional<string>(cgroup, ""),
  /** Whose processes are let in besides, in each mode. */
  nodeAccessFrom: optional(list(cgroup, { max: 32 }), []),
  heartbeatLimitMs: optional(integer(200, 60_000), 2_000),
  /** How long bytes that the agent carries may wait for an end that takes none of them. 0: for ever. */
  unreadTimeoutSeconds: optional(integer(0, 7 * 86_400), 3_600),
  metrics: listener({ host: "0.0.0.0", port: 15_020 }),
  ready: listener({ host: "0.0.0.0", port: 15_021 }),
  log: optional(log, logDefaults),
  /** A keeper warns of 65534, which many programs are. */
  agentUid: optional(integer(1, 4_294_967_294), AGENT_USER),
  agentGid: optional(integer(1, 4_294_967_294), AGENT_USER),
  /** Also honour istio.io/dataplane-mode on namespaces and pods. */
  istioLabels: optional(oneOf("ignored", "honoured"), "ignored"),
  /** RuntimeClasses whose pods run in the node's own kernel. Pods of any other class stay outside the mesh. */
  runtimeClasses: optional(list(dnsName, { max: 64 }), ["nvidia", "nvidia-cdi", "nvidia-legacy", "crun", "runc"]),
  /**
   * Clients that offer X25519MLKEM768 without a key share, as ztunnel does: asked for it, which costs them a round trip in each
   * handshake; or accepted with X25519.
   */
  postQuantum: optional(oneOf("asked", "accepted"), "asked"),
  tls: optional<Read<typeof tls>>(tls, tlsDefaults),
});
export type NodeSpec = Read<typeof nodeSpec>;

export const nodeConfigKind = configDocument("NodeConfig", nodeSpec);
