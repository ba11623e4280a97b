// any thread · PeerAuthentication (security.istio.io/v1): who must bring a certificate. Schema and translation.
import { fullName } from "../../mesh/full-name.ts";
import type { MtlsMode, PeerAuthentication } from "../../mesh/policies.ts";
import { metadata, portText, workloadSelector } from "./fields.ts";
import { ignored, mapOf, object, oneOf, optional, type Read, required } from "./schema.ts";
import { type Report, type Value, wrong } from "./value.ts";

const mutualTls = object({ mode: optional<MtlsMode>(oneOf("UNSET", "DISABLE", "PERMISSIVE", "STRICT"), "UNSET") });

export const peerAuthenticationKind = object({
  apiVersion: required(oneOf("security.istio.io/v1", "security.istio.io/v1beta1")),
  kind: required(oneOf("PeerAuthentication")),
  metadata: required(metadata),
  spec: optional(
    object({
      selector: optional(workloadSelector, null),
      mtls: optional<Read<typeof mutualTls>>(mutualTls, { mode: "UNSET" }),
      portLevelMtls: optional<Readonly<Record<string, Read<typeof mutualTls>>>>(
        // The key is a port in every spelling but stays text here; translation makes the number.
        mapOf(mutualTls, (value, path, report) => portText(value, path, report)?.toString()),
        {},
      ),
    }),
    { selector: null, mtls: { mode: "UNSET" }, portLevelMtls: {} },
  ),
  status: ignored,
});
export type PeerAuthenticationDocument = Read<typeof peerAuthenticationKind>;

export function toPeerAuthentication(
  read: PeerAuthenticationDocument,
  document: Value,
  report: Report,
): PeerAuthentication | undefined {
  const { metadata: meta, spec } = read;
  const ports = Object.entries(spec.portLevelMtls);
  if (ports.length > 0 && spec.selector === null) {
    return wrong(
      document.from,
      `PeerAuthentication ${fullName(meta)} has portLevelMtls without a selector`,
      "a port means something only at workloads that are named",
      "add spec.selector.matchLabels, or remove portLevelMtls",
      report,
    );
  }
  const portLevel: Record<number, MtlsMode> = {};
  for (const [port, { mode }] of ports) portLevel[Number(port)] = mode;
  return {
    name: meta.name,
    namespace: meta.namespace,
    selector: spec.selector,
    mode: spec.mtls.mode,
    portLevel,
    from: document.from,
  };
}
