// any thread · ControlConfig (orlop.dev/v1alpha1): what `orlop control` must know. Schema and defaults.
import { configDocument, listener } from "./config-document.ts";
import { dnsName, filePath, logLevels, trustDomain } from "./node-config.ts";
import { boolean, integer, list, object, oneOf, optional, type Read, string, text } from "./schema.ts";

/** An object's name in Kubernetes. */
const objectName = text(
  "a name of Kubernetes",
  (name) => (/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(name) ? name : undefined),
  "the API server has no object of another form",
  "use lower-case letters, digits, - and .",
);
const account = text(
  "namespace/name of a service account",
  (name) =>
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(name) ? name : undefined,
  "the agents prove themselves as it",
  "write orlop-system/orlop-agent, say",
);
const serverName = text(
  "a DNS name or an IP address",
  (name) => (/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$|^[0-9a-f:.]{2,45}$/.test(name) ? name : undefined),
  "agents look for it in the certificate",
  "write the host of the agents' ca.address",
);

const log = object({ level: optional(oneOf(...logLevels), "info") });

const controlSpec = object({
  trustDomain: optional(trustDomain, "cluster.local"),
  clusterDomain: optional(dnsName, "cluster.local"),
  /** Of the Secret and of the ConfigMap. */
  namespace: optional(objectName, "orlop-system"),
  /** Who may ask for certificates of its node's pods. */
  agentAccounts: optional(list(account, { min: 1, max: 16 }), ["orlop-system/orlop-agent"]),
  /** Of the agents' tokens. */
  audience: optional(string, "orlop-ca"),
  rootSecret: optional(objectName, "orlop-control-root"),
  rootConfigMap: optional(objectName, "orlop-root-cert"),
  /** The longest life of a certificate; an agent may ask for less. */
  leafTtlSeconds: optional(integer(60, 90 * 86_400), 86_400),
  /** How long a new root is published before certificates come from it: the kubelet needs up to two minutes to mount it. */
  rootSpreadSeconds: optional(integer(0, 86_400), 300),
  listen: listener({ host: "::", port: 15_012 }),
  /** Hosts in the certificate of the server. Empty: orlop-control in the namespace. */
  serverNames: optional(list(serverName, { max: 16 }), []),
  /** Nodes lose the taint orlop.dev/not-ready when their agent and CNI installer are ready. */
  untaintNodes: optional(boolean, false),
  /** Routes say in their status what became of them. */
  routeStatus: optional(boolean, false),
  /** Empty: the pod's service account. */
  kubeconfig: optional(filePath, ""),
  metrics: listener({ host: "::", port: 15_020 }),
  ready: listener({ host: "::", port: 15_021 }),
  log: optional(log, { level: "info" }),
});
export type ControlSpec = Read<typeof controlSpec>;

export const controlConfigKind = configDocument("ControlConfig", controlSpec);
