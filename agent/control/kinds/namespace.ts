// any thread · Namespace (v1): who belongs to the mesh. Schema and meaning of the opt-in labels.
import { DATAPLANE_MODE, type Membership, membershipOf, REMOVE_PROXY_HEADERS } from "../../mesh/names.ts";
import { clusterMetadata } from "./fields.ts";
import { growingObject, ignored, oneOf, type Read, required } from "./schema.ts";
import { quoted, type Report, type Value } from "./value.ts";

export const namespaceKind = growingObject({
  apiVersion: required(oneOf("v1")),
  kind: required(oneOf("Namespace")),
  metadata: required(clusterMetadata),
  spec: ignored,
  status: ignored,
});
export type Namespace = Read<typeof namespaceKind>;

/**
 * What the opt-in labels of a namespace or a pod say. An unknown word of ours is an error: "Ambient" or "enabled" would leave
 * pods outside the mesh that were meant to be inside. Istio's label has values that are not ours to judge.
 */
export function membership(
  labels: Readonly<Record<string, string>>,
  honourIstioLabels: boolean,
  document: Value,
  report: Report,
): Membership {
  const own = labels[DATAPLANE_MODE];
  if (own !== undefined && own !== "ambient" && own !== "none") {
    report.error({
      code: "ORL4104",
      from: placeOf(document, "labels", DATAPLANE_MODE),
      what: `label ${DATAPLANE_MODE}: ${quoted(own)} is not one of ambient, none`,
      why: "pods would stay outside the mesh that were meant to be inside",
      fix: "write ambient or none",
    });
  }
  return membershipOf(labels, honourIstioLabels);
}

/** Whether the annotation of a namespace takes other proxies' fields out. A word that is not understood takes them out. */
export function removesProxyHeaders(
  annotations: Readonly<Record<string, string>>,
  document: Value,
  report: Report,
): boolean {
  const written = annotations[REMOVE_PROXY_HEADERS];
  if (written === undefined || written === "false") return false;
  if (written !== "true") {
    report.error({
      code: "ORL4104",
      from: placeOf(document, "annotations", REMOVE_PROXY_HEADERS),
      what: `annotation ${REMOVE_PROXY_HEADERS}: ${quoted(written)} is neither "true" nor "false"`,
      why: "applications would get fields that they were to be kept from, or the other way round",
      fix: 'write "true" or "false"',
    });
  }
  return true;
}

function placeOf(document: Value, part: "labels" | "annotations", key: string): Value["from"] {
  let at = document;
  for (const name of ["metadata", part, key]) {
    const next = at.type === "map" ? at.entries.get(name)?.value : undefined;
    if (!next) break;
    at = next;
  }
  return at.from;
}
