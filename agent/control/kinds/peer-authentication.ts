// any thread · PeerAuthentication (security.istio.io/v1): who must bring a certificate. Schema and translation.
import { fullName } from "../../mesh/full-name.ts";
import type { MtlsMode, PeerAuthentication } from "../../mesh/policies.ts";
import { metadataParts, portText, workloadSelector } from "./fields.ts";
import type { NodeSettings } from "./node-settings.ts";
import { ignored, oneOf, optional, parts, type Read, type Reader, required } from "./schema.ts";
import { type Report, type Value, wrong } from "./value.ts";

const mutualTls = parts({ mode: optional<MtlsMode>(oneOf("UNSET", "DISABLE", "PERMISSIVE", "STRICT"), "UNSET") });

const mode: Reader<MtlsMode> = (value, path, report) => {
  const read = mutualTls(value, path, report);
  return read === undefined || read.unreadable.length > 0 ? undefined : read.parts.mode;
};

/** undefined: the document has the port or the mode, and it cannot be read. */
type PortMode = { readonly port: number | undefined; readonly mode: MtlsMode | undefined };

const portModes: Reader<readonly PortMode[]> = (value, path, report) => {
  if (value.type !== "map") {
    // Not a map: the schema of a port's mode reports what is expected instead.
    mutualTls(value, path, report);
    return undefined;
  }
  return [...value.entries].map(([name, entry]): PortMode => {
    const key = { type: "string", value: name, from: entry.keyFrom } as const;
    return { port: portText(key, `${path} key`, report), mode: mode(entry.value, `${path}.${name}`, report) };
  });
};

const spec = parts({
  selector: optional(workloadSelector, null),
  mtls: optional<MtlsMode>(mode, "UNSET"),
  portLevelMtls: optional<readonly PortMode[]>(portModes, []),
});

export const peerAuthenticationKind = parts({
  apiVersion: required(oneOf("security.istio.io/v1", "security.istio.io/v1beta1")),
  kind: required(oneOf("PeerAuthentication")),
  metadata: required(metadataParts),
  spec: optional<Read<typeof spec>>(spec, {
    parts: { selector: null, mtls: "UNSET", portLevelMtls: [] },
    unreadable: [],
  }),
  status: ignored,
});
export type PeerAuthenticationDocument = Read<typeof peerAuthenticationKind>;

/**
 * Reports as an error what cannot be read. A selector in the root namespace selects workloads of that namespace alone; that is reported as
 * a finding, and the object is accepted. Where each object counts for itself (acceptance "object"), an unreadable mode means STRICT, for
 * its port or for the whole workload; an unreadable selector makes the whole namespace STRICT, whatever the rest of the object says.
 * @returns undefined: the object has no readable name (reported).
 */
export function toPeerAuthentication(
  { parts: { metadata: meta, spec: given } }: PeerAuthenticationDocument,
  document: Value,
  { rootNamespace }: Pick<NodeSettings, "rootNamespace">,
  report: Report,
): PeerAuthentication | undefined {
  if (meta?.parts.name === undefined || meta.parts.namespace === undefined) return undefined;
  const { name, namespace } = meta.parts;
  const base = { name, namespace, from: document.from };
  if (namespace === rootNamespace && Object.keys(given?.parts.selector ?? {}).length > 0) {
    report.unsupported(
      document.from,
      `the selector of PeerAuthentication ${fullName(base)} selects workloads of ${namespace} alone`,
      "Istio, too, keeps it to its namespace, although the API's text has it select in all",
      "write the object in each namespace whose workloads it is for",
    );
  }
  const selector = given?.parts.selector;
  if (given === undefined || selector === undefined) {
    return { ...base, selector: null, mode: "STRICT", portLevel: {}, overrides: true };
  }
  const ports = given.parts.portLevelMtls;
  // An unknown field may ask for more protection than the known fields do.
  const closed = ports === undefined || given.unreadable.length > 0 || ports.some(({ port }) => port === undefined);
  const workloadMode = closed ? "STRICT" : (given.parts.mtls ?? "STRICT");
  if (selector === null && ports !== undefined && ports.length > 0) {
    wrong(
      document.from,
      `PeerAuthentication ${fullName(base)} has portLevelMtls without a selector`,
      "a port means something only at workloads that are named",
      "add spec.selector.matchLabels, or remove portLevelMtls",
      report,
    );
    const asksForMore = ports.some((written) => written.mode === undefined || written.mode === "STRICT");
    return { ...base, selector, mode: asksForMore ? "STRICT" : workloadMode, portLevel: {} };
  }
  const portLevel: Record<number, MtlsMode> = {};
  for (const written of ports ?? []) if (written.port !== undefined) portLevel[written.port] = written.mode ?? "STRICT";
  return { ...base, selector, mode: workloadMode, portLevel };
}
