// any thread · Namespace (v1): who belongs to the mesh. Schema and meaning of the opt-in labels.
import { DATAPLANE_MODE, type Membership, membershipOf } from "../../mesh/names.ts";
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
      from: labelPlace(document, DATAPLANE_MODE),
      what: `label ${DATAPLANE_MODE}: ${quoted(own)} is not one of ambient, none`,
      why: "pods would stay outside the mesh that were meant to be inside",
      fix: "write ambient or none",
    });
  }
  return membershipOf(labels, honourIstioLabels);
}

function labelPlace(document: Value, label: string): Value["from"] {
  let at = document;
  for (const name of ["metadata", "labels", label]) {
    const next = at.type === "map" ? at.entries.get(name)?.value : undefined;
    if (!next) break;
    at = next;
  }
  return at.from;
}
