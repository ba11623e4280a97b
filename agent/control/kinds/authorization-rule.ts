// any thread · one rule of an AuthorizationPolicy: from, to, when. Schema and translation; every form of Istio's.
import { pathTemplate } from "../../l7/path-template.ts";
import {
  emptyOperation,
  emptySource,
  type Operation,
  type PolicyAction,
  type Rule,
  type Source,
  type StringMatch,
  sourceRequestFields,
} from "../../mesh/policies.ts";
import type { SourceRef } from "../../mesh/source-ref.ts";
import { qualified, type RuleContext, reportUnseen, toCondition, whenEntry } from "./authorization-condition.ts";
import { cidr, pathMatch, portText, serviceAccount, some, stringMatch } from "./fields.ts";
import { hostMatch } from "./host-match.ts";
import { eachOf, located, optional, parts, type Read, type Reader, required } from "./schema.ts";
import { quoted, type Report, type Value, wrong } from "./value.ts";

const strings = optional(some(stringMatch), []);
const cidrs = optional(some(cidr), []);
const accounts = optional(some(serviceAccount, 16), []);
const portList = optional(some(portText), []);
// Fields that only a request shows. Their position is kept, so that a finding names the line.
const requestStrings = optional(located(some(stringMatch)), null);
const requestCidrs = optional(located(some(cidr)), null);
const requestHosts = optional(located(some(hostMatch)), null);
const requestPaths = optional(located(some(pathMatch)), null);

const source = parts({
  principals: strings,
  notPrincipals: strings,
  requestPrincipals: requestStrings,
  notRequestPrincipals: requestStrings,
  namespaces: strings,
  notNamespaces: strings,
  serviceAccounts: accounts,
  notServiceAccounts: accounts,
  trustDomains: strings,
  notTrustDomains: strings,
  ipBlocks: cidrs,
  notIpBlocks: cidrs,
  remoteIpBlocks: requestCidrs,
  notRemoteIpBlocks: requestCidrs,
});

const operation = parts({
  hosts: requestHosts,
  notHosts: requestHosts,
  ports: portList,
  notPorts: portList,
  methods: requestStrings,
  notMethods: requestStrings,
  paths: requestPaths,
  notPaths: requestPaths,
});

/** `source: {}` reads as "anyone" to some readers and "nobody" to others; Istio's validation refuses it, and so do we. */
function notEmpty<T>(read: Reader<T>, what: string): Reader<T> {
  return (value, path, report) => {
    const entry = read(value, path, report);
    if (entry === undefined || value.type !== "map" || value.entries.size > 0) return entry;
    return wrong(
      value.from,
      `${path} is empty`,
      `an empty ${what} constrains nothing`,
      "name a field, or remove the entry",
      report,
    );
  };
}

const fromEntry = parts({ source: required(located(notEmpty(source, "source"))) });
const toEntry = parts({ operation: required(located(notEmpty(operation, "operation"))) });
const oneOrMore = { min: 1, max: 1_000 };
export const ruleReader = located(
  parts({
    from: optional(eachOf(fromEntry, oneOrMore), []),
    to: optional(eachOf(toEntry, oneOrMore), []),
    when: optional(eachOf(whenEntry, oneOrMore), []),
  }),
);

/** The list of unreadable fields of an entry that cannot be read as a whole. */
const everything = ["*"];

/** A rule of which nothing can be read: a DENY counts it as matching, an ALLOW matches nobody by it. */
export function unreadableRule(from: SourceRef): Rule {
  return { sources: [], operations: [], when: [], unreadable: everything, from };
}

/** @param namespace of the policy: service accounts without one belong to it. */
export function toRule(
  { value: { parts: rule, unreadable }, from }: Read<typeof ruleReader>,
  namespace: string,
  action: PolicyAction,
  report: Report,
): Rule {
  const context = { action, report };
  return {
    sources: (rule.from ?? []).map((entry) => toSource(entry, namespace, context)),
    operations: (rule.to ?? []).map((entry) => toOperation(entry, context)),
    when: (rule.when ?? []).map((entry) => toCondition(entry, from, namespace, context)),
    unreadable,
    from,
  };
}

const accountFields = ["serviceAccounts", "notServiceAccounts"] as const;
const nameFields = ["principals", "notPrincipals", "namespaces", "notNamespaces"] as const;

function toSource(entry: Read<typeof fromEntry> | undefined, namespace: string, context: RuleContext): Source {
  const written = entry?.parts.source;
  if (written === undefined) return { ...emptySource, unreadable: everything };
  const { value, from } = written;
  const read = value.parts;
  /** Whether the document has the field, readable or not. */
  const isWritten = (field: (typeof accountFields)[number] | (typeof nameFields)[number]): boolean =>
    value.unreadable.includes(field) || (read[field]?.length ?? 0) > 0;
  const contradicts = accountFields.some(isWritten) && nameFields.some(isWritten);
  if (contradicts) {
    wrong(
      from,
      "serviceAccounts stands beside principals or namespaces",
      "both say who the caller is, and Istio allows only one of them",
      "split them into two entries of from",
      context.report,
    );
  }
  for (const match of [...(read.principals ?? []), ...(read.notPrincipals ?? [])])
    reportScheme(match, from, context.report);
  reportUnseenFields(read, sourceRequestFields, context);
  // An unknown field of the entry may restrict the caller, too.
  const unreadable = [...(entry?.unreadable ?? []), ...value.unreadable];
  const source: Source = {
    principals: read.principals ?? [],
    notPrincipals: read.notPrincipals ?? [],
    namespaces: read.namespaces ?? [],
    notNamespaces: read.notNamespaces ?? [],
    serviceAccounts: (read.serviceAccounts ?? []).map((name) => qualified(name, namespace)),
    notServiceAccounts: (read.notServiceAccounts ?? []).map((name) => qualified(name, namespace)),
    trustDomains: read.trustDomains ?? [],
    notTrustDomains: read.notTrustDomains ?? [],
    ipBlocks: read.ipBlocks ?? [],
    notIpBlocks: read.notIpBlocks ?? [],
    requestPrincipals: read.requestPrincipals?.value ?? [],
    notRequestPrincipals: read.notRequestPrincipals?.value ?? [],
    remoteIpBlocks: read.remoteIpBlocks?.value ?? [],
    notRemoteIpBlocks: read.notRemoteIpBlocks?.value ?? [],
    unreadable,
  };
  return contradicts ? withoutCallers(source) : source;
}

/** The fields that name the caller contradict each other, so they are dropped and count as unreadable. */
function withoutCallers(source: Source): Source {
  const { principals, notPrincipals, namespaces, notNamespaces, serviceAccounts, notServiceAccounts } = emptySource;
  return {
    ...source,
    ...{ principals, notPrincipals, namespaces, notNamespaces, serviceAccounts, notServiceAccounts },
    unreadable: [...source.unreadable, "serviceAccounts"],
  };
}

function toOperation(entry: Read<typeof toEntry> | undefined, context: RuleContext): Operation {
  const written = entry?.parts.operation;
  if (written === undefined) return { ...emptyOperation, unreadable: everything };
  const read = written.value.parts;
  for (const field of ["paths", "notPaths"] as const) reportTemplates(field, read[field], context.report);
  return {
    ports: read.ports ?? [],
    notPorts: read.notPorts ?? [],
    hosts: read.hosts?.value ?? [],
    notHosts: read.notHosts?.value ?? [],
    methods: read.methods?.value ?? [],
    notMethods: read.notMethods?.value ?? [],
    paths: read.paths?.value ?? [],
    notPaths: read.notPaths?.value ?? [],
    unreadable: [...(entry?.unreadable ?? []), ...written.value.unreadable],
  };
}

/** Istio refuses such a template; here the field is then read strictly, with a request as without. */
function reportTemplates(
  field: "paths" | "notPaths",
  paths: { readonly value: Operation["paths"]; readonly from: Value["from"] } | null | undefined,
  report: Report,
): void {
  if (!paths) return;
  for (const match of paths.value) {
    if (match.kind !== "template" || pathTemplate(match.value) !== undefined) continue;
    report.unsupported(
      paths.from,
      `${field}: ${quoted(match.value)} is no template of a path`,
      "nobody can say what it matches, so no request will ever be compared with it",
      "{*} is a whole segment, and {**} comes last: /accounts/{*}/items/{**}",
    );
  }
}

/** The classical mistake: Istio's principals are written without the scheme, so one with it never matches. */
function reportScheme(match: StringMatch, from: Value["from"], report: Report): void {
  if (match.kind === "presence" || match.kind === "suffix" || !match.value.startsWith("spiffe://")) return;
  report.unsupported(
    from,
    "a principal begins with spiffe://",
    "principals are compared without the scheme, so this one never matches",
    `write ${match.value.slice("spiffe://".length)}${match.kind === "prefix" ? "*" : ""}`,
  );
}

/** Each field in use that nothing shows yet is reported once per entry, with what it means for this action. */
function reportUnseenFields<const N extends string>(
  read: Readonly<Record<N, { readonly from: Value["from"] } | null | undefined>>,
  names: readonly N[],
  context: RuleContext,
): void {
  for (const name of names) {
    const from = read[name]?.from;
    if (from !== undefined) reportUnseen(from, name, context);
  }
}
