// any thread · Workload (orlop.dev/v1alpha1): a pod's stand-in on a plain machine. Schema and translation.
import { fullName } from "../../mesh/full-name.ts";
import { spiffeId } from "../../mesh/spiffe-id.ts";
import type { Locality, Workload } from "../../mesh/workload.ts";
import { address, dnsSubdomain, type Metadata, metadata, port, portName } from "./fields.ts";
import { CANONICAL_NAME, CANONICAL_REVISION, POD_TEMPLATE_HASH, WORKLOAD_NAME } from "./labels.ts";
import type { NodeSettings } from "./node-settings.ts";
import {
  boolean,
  ignored,
  integer,
  list,
  mapOf,
  object,
  oneOf,
  optional,
  type Read,
  required,
  string,
  text,
} from "./schema.ts";
import type { Report, Value } from "./value.ts";

const nodeName = text(
  "a node name",
  (name) => (/^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/.test(name) ? name : undefined),
  "a node looks for its own workloads by this name",
  "use letters, digits, -, _ and .",
);
const locality = text(
  "a locality",
  parseLocality,
  "it is compared part by part with those of the callers",
  "write region, region/zone or region/zone/subzone",
);

export const workloadKind = object({
  apiVersion: required(oneOf("orlop.dev/v1alpha1")),
  kind: required(oneOf("Workload")),
  metadata: required(metadata),
  spec: required(
    object({
      addresses: required(list(address, { min: 1, max: 16 })),
      node: required(nodeName),
      serviceAccount: optional(dnsSubdomain, "default"),
      network: optional<string | null>(string, null),
      locality: optional<Locality>(locality, { region: "", zone: "", subzone: "" }),
      weight: optional(integer(0, 1_000_000), 1),
      ports: optional(mapOf(port, portName), {}),
      /** Absent: every port. */
      probePorts: optional<readonly number[] | null>(list(port, { max: 64 }), null),
      protocol: optional(oneOf("HBONE", "TCP"), "HBONE"),
      healthy: optional(boolean, true),
    }),
  ),
  status: ignored,
});
export type WorkloadDocument = Read<typeof workloadKind>;

/** The workload as if its labels or its namespace had put it into the mesh. */
export function toWorkload(read: WorkloadDocument, document: Value, settings: NodeSettings): Workload {
  const { metadata: meta, spec } = read;
  return {
    uid: `${settings.cluster}//Pod/${meta.namespace}/${meta.name}`,
    podUid: spec.node === settings.node ? meta.uid : "",
    name: meta.name,
    namespace: meta.namespace,
    addresses: spec.addresses,
    node: spec.node,
    network: spec.network ?? settings.network,
    cluster: settings.cluster,
    identity: spiffeId(settings.trustDomain, meta.namespace, spec.serviceAccount),
    labels: meta.labels,
    protocol: spec.protocol === "HBONE" ? "hbone" : "none",
    ports: spec.ports,
    probePorts: spec.probePorts,
    removesProxyHeaders: false,
    healthy: spec.healthy,
    locality: spec.locality,
    weight: spec.weight,
    ...namesForTelemetry(meta),
    from: document.from,
  };
}

/** A pod of this node in the mesh is found by its UID. */
export function requireUid(workload: Workload, settings: NodeSettings, report: Report): void {
  if (workload.node !== settings.node || workload.podUid !== "") return;
  report.error({
    code: "ORL4103",
    from: workload.from,
    what: `Workload ${fullName(workload)} of this node lacks "metadata.uid"`,
    why: "the keeper finds the pod's cgroup by it, so the workload could not be enrolled",
    fix: "add metadata.uid, as it stands in the name of the pod's cgroup",
  });
}

function parseLocality(written: string): Locality | undefined {
  const parts = written.split("/");
  const [region = "", zone = "", subzone = ""] = parts;
  return parts.length <= 3 && region !== "" ? { region, zone, subzone } : undefined;
}

/** How the workload is called in logs and metrics. */
export function namesForTelemetry(
  meta: Pick<Metadata, "name" | "labels">,
): Pick<Workload, "workloadName" | "canonicalName" | "canonicalRevision"> {
  return {
    workloadName: workloadName(meta),
    canonicalName: firstLabel(meta, CANONICAL_NAME) ?? workloadName(meta),
    canonicalRevision: firstLabel(meta, CANONICAL_REVISION) ?? "latest",
  };
}

/** The Deployment's name when the pod's has the form of its pods' names, else the pod's own. */
function workloadName(meta: Pick<Metadata, "name" | "labels">): string {
  const named = meta.labels[WORKLOAD_NAME];
  if (named !== undefined && named !== "") return named;
  const hash = meta.labels[POD_TEMPLATE_HASH];
  if (hash === undefined || hash === "") return meta.name;
  const cut = meta.name.lastIndexOf(`-${hash}-`);
  return cut > 0 ? meta.name.slice(0, cut) : meta.name;
}

function firstLabel(meta: Pick<Metadata, "labels">, names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = meta.labels[name];
    if (value !== undefined && value !== "") return value;
  }
  return undefined;
}
