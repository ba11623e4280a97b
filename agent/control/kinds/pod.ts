// any thread · Pod (v1): the few fields of it that a mesh needs, and the workload that they make. Read from an API server alone.
import { spiffeId } from "../../mesh/spiffe-id.ts";
import type { Workload } from "../../mesh/workload.ts";
import type { LeftOutPod } from "../left-out.ts";
import { address, annotations, dnsSubdomain, namespacedMetadata, port } from "./fields.ts";
import { POD_ANNOTATIONS, SIDECAR, SIDECAR_CONTAINERS } from "./labels.ts";
import type { NodeSettings } from "./node-settings.ts";
import { boolean, excerpt, list, oneOf, optional, type Read, type Reader, required, string } from "./schema.ts";
import { cgroupUidOf } from "./static-pod.ts";
import type { Value } from "./value.ts";
import { namesForTelemetry } from "./workload.ts";

/** A number, or a name that the container gives a port. */
const portOrName: Reader<number | string> = (value, path, report) =>
  value.type === "string" ? string(value, path, report) : port(value, path, report);
const portField = { port: required(portOrName) };
const handler = excerpt({
  httpGet: optional(excerpt(portField), null),
  tcpSocket: optional(excerpt(portField), null),
  grpc: optional(excerpt(portField), null),
});
const lifecycle = excerpt({ postStart: optional(handler, null), preStop: optional(handler, null) });
const containers = list(
  excerpt({
    name: optional(string, ""),
    restartPolicy: optional(string, ""),
    ports: optional(
      list(
        excerpt({
          name: optional(string, ""),
          containerPort: required(port),
          protocol: optional(string, "TCP"),
        }),
      ),
      [],
    ),
    livenessProbe: optional(handler, null),
    readinessProbe: optional(handler, null),
    startupProbe: optional(handler, null),
    lifecycle: optional(lifecycle, null),
  }),
  { max: 1_000 },
);

const readAnnotations: ReadonlySet<string> = new Set(POD_ANNOTATIONS);
const podAnnotations: Reader<Readonly<Record<string, string>>> = (value, path, report) => {
  if (value.type !== "map") return annotations(value, path, report);
  const entries = new Map([...value.entries].filter(([name]) => readAnnotations.has(name)));
  return annotations({ ...value, entries }, path, report);
};
/** An excerpt, since a Pod is kept in part (kept-fields.ts). */
const podMetadata = excerpt({
  ...namespacedMetadata,
  annotations: optional(podAnnotations, {}),
  ownerReferences: optional(
    list(excerpt({ kind: required(string), name: required(string), controller: optional(boolean, false) })),
    [],
  ),
});

export const podKind = excerpt({
  apiVersion: required(oneOf("v1")),
  kind: required(oneOf("Pod")),
  metadata: required(podMetadata),
  spec: required(
    excerpt({
      nodeName: optional(string, ""),
      serviceAccountName: optional(dnsSubdomain, "default"),
      hostNetwork: optional(boolean, false),
      runtimeClassName: optional(string, ""),
      containers: optional(containers, []),
      initContainers: optional(containers, []),
    }),
  ),
  status: optional(
    excerpt({
      phase: optional(string, ""),
      podIPs: optional(list(excerpt({ ip: required(address) }), { max: 16 }), []),
      conditions: optional(list(excerpt({ type: required(string), status: required(string) })), []),
    }),
    { phase: "", podIPs: [], conditions: [] },
  ),
});
export type PodDocument = Read<typeof podKind>;
type Container = PodDocument["spec"]["containers"][number];
type ProbeHandler = Read<typeof handler>;

/** `leftOut`: why it stays outside whatever its labels say; only of a pod of this node. Undefined: it may be in the mesh. */
export type ReadPod = {
  readonly value: Workload;
  readonly leftOut: Pick<LeftOutPod, "reason" | "because"> | undefined;
};

/**
 * The workload that the pod is if its labels or its namespace put it into the mesh. Only a pod of this node may be without an address.
 * @returns undefined: it cannot be in the mesh, because it has no address of its own yet, has it no more, or never gets any
 */
export function podWorkload(pod: PodDocument, document: Value, settings: NodeSettings): ReadPod | undefined {
  const { metadata: meta, spec, status } = pod;
  // A pod that has finished keeps its address in its status, and another pod may have it by now.
  if (status.phase === "Succeeded" || status.phase === "Failed") return undefined;
  // A pod of this node is known before it runs, so that it can be guarded and captured before its first packet: the keeper finds its
  // addresses in its namespace, half a second before the API has them.
  if (spec.nodeName === "" || (status.podIPs.length === 0 && spec.nodeName !== settings.node)) return undefined;
  const isHere = spec.nodeName === settings.node;
  // Elsewhere it is nothing to this node: its addresses are those of its node.
  if (spec.hostNetwork && !isHere) return undefined;
  const leftOut = leftOutOf(pod, settings);
  // An init container that is always restarted is a sidecar: it goes on beside the containers.
  const running = [
    ...spec.containers,
    ...spec.initContainers.filter(({ restartPolicy }) => restartPolicy === "Always"),
  ];
  const value: Workload = {
    uid: `${settings.cluster}//Pod/${meta.namespace}/${meta.name}`,
    podUid: isHere ? cgroupUidOf({ ...meta, nodeName: spec.nodeName }) : "",
    name: meta.name,
    namespace: meta.namespace,
    addresses: spec.hostNetwork ? [] : [...new Set(status.podIPs.map(({ ip }) => ip))],
    node: spec.nodeName,
    network: settings.network,
    cluster: settings.cluster,
    identity: spiffeId(settings.trustDomain, meta.namespace, spec.serviceAccountName),
    labels: meta.labels,
    protocol: leftOut === undefined ? "hbone" : "none",
    ports: namedPorts(running),
    probePorts: probePorts([...spec.containers, ...spec.initContainers]),
    removesProxyHeaders: false,
    healthy: isReady(pod, document),
    locality: { region: "", zone: "", subzone: "" },
    weight: 1,
    ...namesForTelemetry(meta),
    from: document.from,
  };
  return { value, leftOut: isHere ? leftOut : undefined };
}

function leftOutOf(
  { metadata, spec }: PodDocument,
  { runtimeClasses }: Pick<NodeSettings, "runtimeClasses">,
): ReadPod["leftOut"] {
  if (spec.hostNetwork) return { reason: "host-network", because: "spec.hostNetwork is true" };
  // A pod that Istio's injector has changed says so; a sidecar that was put in by other means shows by its name alone.
  if (metadata.annotations[SIDECAR] !== undefined) return { reason: "sidecar", because: `annotation ${SIDECAR}` };
  const proxy = [...spec.containers, ...spec.initContainers].find(({ name }) => SIDECAR_CONTAINERS.has(name));
  if (proxy !== undefined) return { reason: "sidecar", because: `container ${proxy.name}` };
  const { runtimeClassName } = spec;
  if (runtimeClassName === "" || runtimeClasses.includes(runtimeClassName)) return undefined;
  return { reason: "sandbox", because: `runtimeClassName ${runtimeClassName}` };
}

/** A pod that is being deleted finishes what it has, and gets nothing new. */
function isReady({ status }: PodDocument, document: Value): boolean {
  const meta = document.type === "map" ? document.entries.get("metadata")?.value : undefined;
  if (meta?.type === "map" && meta.entries.get("deletionTimestamp")?.value.type === "string") return false;
  return status.conditions.some(({ type, status: is }) => type === "Ready" && is === "True");
}

/** Of two containers with a port of the same name the first counts, as for a Service. */
function namedPorts(containers: readonly Container[]): Readonly<Record<string, number>> {
  const ports = new Map<string, number>();
  for (const { name, containerPort, protocol } of containers.flatMap((container) => container.ports))
    if (name !== "" && protocol === "TCP" && !ports.has(name)) ports.set(name, containerPort);
  return Object.fromEntries(ports);
}

/** Ports that the kubelet itself dials. Empty: it dials none, and nobody is let in. */
function probePorts(containers: readonly Container[]): readonly number[] {
  const found = new Set<number>();
  for (const { ports, livenessProbe, readinessProbe, startupProbe, lifecycle: hooks } of containers) {
    const handlers = [livenessProbe, readinessProbe, startupProbe, hooks?.postStart, hooks?.preStop];
    for (const asked of handlers.flatMap(portsOf)) {
      const number = typeof asked === "number" ? asked : ports.find(({ name }) => name === asked)?.containerPort;
      if (number !== undefined) found.add(number);
    }
  }
  return [...found].sort((a, b) => a - b);
}

function portsOf(handles: ProbeHandler | null | undefined): readonly (number | string)[] {
  return [handles?.httpGet, handles?.tcpSocket, handles?.grpc].flatMap((how) => how?.port ?? []);
}
