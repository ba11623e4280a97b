// any thread · what of an object of an API server is read here, and so kept: a Pod is mostly about running it, and every object has
// its fields twice more in bookkeeping of the server and of kubectl. Pure.
import { hash } from "node:crypto";
import { POD_ANNOTATIONS } from "./labels.ts";

/** true: all of it. What has another form than this is kept whole, for the kind's reader to report. */
type Shape = true | readonly [Shape] | { readonly [field: string]: Shape };

const dialled: Shape = { httpGet: { port: true }, tcpSocket: { port: true }, grpc: { port: true } };
const container: Shape = {
  ...{ name: true, restartPolicy: true, ports: [{ name: true, containerPort: true, protocol: true }] },
  ...{ livenessProbe: dialled, readinessProbe: dialled, startupProbe: dialled },
  lifecycle: { postStart: dialled, preStop: dialled },
};
const shapes: Readonly<Record<string, Shape>> = {
  Pod: {
    ...{ apiVersion: true, kind: true },
    metadata: {
      ...{ name: true, namespace: true, uid: true, labels: true, deletionTimestamp: true },
      annotations: Object.fromEntries(POD_ANNOTATIONS.map((name) => [name, true as const])),
      ownerReferences: [{ kind: true, name: true, controller: true }],
    },
    spec: {
      ...{ nodeName: true, serviceAccountName: true, hostNetwork: true, runtimeClassName: true },
      ...{ containers: [container], initContainers: [container] },
    },
    status: { phase: true, podIPs: true, conditions: [{ type: true, status: true }] },
  },
  Namespace: { apiVersion: true, kind: true, metadata: true },
};

/** Of what `keptFields` does besides; raise it when that changes. */
const RULES = 1;
/** Two releases with the same text keep the same of each object. */
export const keptFieldsDigest = hash("sha256", JSON.stringify([RULES, shapes]), "hex").slice(0, 16);

const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

/** @param object as JSON.parse made it; it is not changed. */
export function keptFields(kind: string, object: unknown): unknown {
  const kept = within(object, shapes[kind] ?? true);
  if (!isRecord(kept) || !isRecord(kept.metadata)) return kept;
  const { managedFields, ...metadata } = kept.metadata;
  if (isRecord(metadata.annotations) && Object.hasOwn(metadata.annotations, LAST_APPLIED)) {
    const { [LAST_APPLIED]: applied, ...annotations } = metadata.annotations;
    return { ...kept, metadata: { ...metadata, annotations } };
  }
  return { ...kept, metadata };
}

function within(value: unknown, shape: Shape): unknown {
  if (shape === true) return value;
  if (isList(shape)) return Array.isArray(value) ? value.map((item) => within(item, shape[0])) : value;
  if (!isRecord(value)) return value;
  const kept: Record<string, unknown> = {};
  for (const [field, inner] of Object.entries(shape))
    if (Object.hasOwn(value, field)) kept[field] = within(value[field], inner);
  return kept;
}

function isList(shape: Shape): shape is readonly [Shape] {
  return Array.isArray(shape);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
