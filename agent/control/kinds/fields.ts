// any thread · readers for the values that several kinds share: names, addresses, ports, selectors, metadata. Pure.
import { canonicalIp, parseCidr } from "../../mesh/ip.ts";
import type { Cidr, PathMatch, StringMatch } from "../../mesh/policies.ts";
import {
  growingObject,
  ignored,
  integer,
  list,
  mapOf,
  object,
  optional,
  parts,
  type Read,
  type Reader,
  required,
  string,
  text,
} from "./schema.ts";
import { quoted, type Report, type Value } from "./value.ts";

const label1123 = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

export const dnsLabel = text(
  "a DNS-1123 label",
  (name) => (label1123.test(name) ? name : undefined),
  "names become parts of identities, host names and metric labels",
  "use at most 63 lower-case letters, digits and -, letters or digits first and last",
);

export const dnsSubdomain = text(
  "a DNS-1123 name",
  (name) => (name.length <= 253 && name.split(".").every((part) => label1123.test(part)) ? name : undefined),
  "names become parts of identities, host names and metric labels",
  "use lower-case letters, digits and -, in labels of at most 63, separated by dots",
);

/** Ports of pods and services have names such as http or 9090-admin (IANA service names, RFC 6335, plus leading digits). */
export const portName = text(
  "a port name",
  (name) => (/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name) ? name : undefined),
  "a Service finds a port by this name",
  "use lower-case letters, digits and -",
);

export const port: Reader<number> = integer(1, 65_535);

/** A port written as text, as Istio's policies write it. */
export const portText = text(
  "a port",
  (written) => {
    const number = /^[1-9][0-9]{0,4}$/.test(written) ? Number(written) : 0;
    return number >= 1 && number <= 65_535 ? number : undefined;
  },
  "a rule about a port that cannot exist never matches",
  'write a number from 1 to 65535 in quotes, such as "8080"',
);

export const address = text(
  "an IP address",
  canonicalIp,
  "a name or a prefix cannot be dialled",
  "write one IPv4 or IPv6 address, without a prefix length or zone",
);

/** A prefix, or a single address standing for itself. */
export const cidr: Reader<Cidr> = text(
  "an IP address or CIDR",
  parseCidr,
  "a rule with a prefix that cannot be read would match nobody, or everybody",
  "write an address, or address/length with at most 32 (IPv4) or 128 (IPv6) bits, such as 10.0.0.0/8",
);

const qualifiedName = /^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
const labelKey = text(
  "a label name",
  (name) => (qualifiedName.test(name) ? name : undefined),
  "Kubernetes would refuse it",
  "write name or domain/name",
);
const labelValue = text(
  "a label value",
  (value) => (/^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/.test(value) ? value : undefined),
  "a selector compares values exactly; no label can hold this one",
  "use at most 63 letters, digits, -, _ and .",
);
export const labels = mapOf(labelValue, labelKey);

/** Annotations may hold anything, line ends included; only those we know are looked at. */
const annotation: Reader<string> = (value, path, report) =>
  value.type === "string" ? value.value : string(value, path, report);
export const annotations = mapOf(annotation);

const metadataFields = {
  name: required(dnsSubdomain),
  labels: optional(labels, {}),
  annotations: optional(annotations, {}),
  uid: optional(string, ""),
  creationTimestamp: ignored,
  deletionGracePeriodSeconds: ignored,
  deletionTimestamp: ignored,
  finalizers: ignored,
  generateName: ignored,
  generation: ignored,
  managedFields: ignored,
  ownerReferences: ignored,
  resourceVersion: ignored,
  selfLink: ignored,
};
export const namespacedMetadata = { ...metadataFields, namespace: optional(dnsLabel, "default") };
export const metadata = growingObject(namespacedMetadata);
export type Metadata = Read<typeof metadata>;
/** Of a policy: a label that cannot be read changes nothing of what the policy says. */
export const metadataParts = parts(namespacedMetadata);
/** Of objects that live in no namespace; their name becomes part of identities. */
export const clusterMetadata = growingObject({ ...metadataFields, name: required(dnsLabel) });

/** Istio's WorkloadSelector. null: no selector, or a selector that selects everything. */
export const workloadSelector: Reader<Readonly<Record<string, string>> | null> = (value, path, report) => {
  const read = object({ matchLabels: optional(labels, {}) })(value, path, report);
  if (read === undefined) return undefined;
  return Object.keys(read.matchLabels).length === 0 ? null : read.matchLabels;
};

export const nonEmptyString = text(
  "a value",
  (value) => (value === "" ? undefined : value),
  "an empty text matches nothing that exists",
  'write a value; "*" means: present',
);

/** `*` present, `*x` suffix, `x*` prefix, else exact; a leading star wins, as in Istio. */
export const stringMatch: Reader<StringMatch> = (value, path, report) => {
  const read = nonEmptyString(value, path, report);
  if (read === undefined) return undefined;
  const match = parseStringMatch(read);
  if (match.kind !== "presence" && match.value.includes("*")) reportStar(value, path, read, report);
  return match;
};

/** As `stringMatch`; with a brace it is a template, in which stars have another meaning. */
export const pathMatch: Reader<PathMatch> = (value, path, report) => {
  if (value.type !== "string" || !value.value.includes("{")) return stringMatch(value, path, report);
  const read = nonEmptyString(value, path, report);
  return read === undefined ? undefined : { kind: "template", value: read };
};

function parseStringMatch(written: string): StringMatch {
  if (written === "*") return { kind: "presence" };
  if (written.startsWith("*")) return { kind: "suffix", value: written.slice(1) };
  if (written.endsWith("*")) return { kind: "prefix", value: written.slice(0, -1) };
  return { kind: "exact", value: written };
}

function reportStar(value: Value, path: string, written: string, report: Report): void {
  report.unsupported(
    value.from,
    `${path}: the inner * of ${quoted(written)} is an ordinary character`,
    "only a first or a last * is a wildcard, so this matches no name that can exist",
    "write one star, at the beginning or at the end",
  );
}

/** `<namespace>/<name>` or `<name>`; the caller supplies the namespace of the latter. */
export const serviceAccount = text(
  "a service account",
  (written) =>
    /^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\/)?[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(written) ? written : undefined,
  "service accounts are compared exactly; wildcards are not read here",
  "write namespace/name, or name for the policy's own namespace",
);

/** A non-empty list: `[]` would mean no constraint, which nobody writes on purpose. */
export function some<T>(item: Reader<T>, max = 1_000): Reader<readonly T[]> {
  return list(item, { min: 1, max });
}
