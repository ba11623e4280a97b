// any thread · one rule of an AuthorizationPolicy: from, to, when. Schema and translation; every form of Istio's.
import {
  type Condition,
  type Operation,
  operationRequestFields,
  type PolicyAction,
  type Rule,
  type Source,
  type StringMatch,
  sourceRequestFields,
} from "../../mesh/policies.ts";
import { cidr, nonEmptyString, pathMatch, portText, serviceAccount, some, stringMatch } from "./fields.ts";
import { located, object, optional, type Read, type Reader, required } from "./schema.ts";
import { type Report, type Value, wrong } from "./value.ts";

const strings = optional(some(stringMatch), []);
const cidrs = optional(some(cidr), []);
const accounts = optional(some(serviceAccount, 16), []);
const portList = optional(some(portText), []);
// What only a request shows, with its position, so that a finding names the line.
const requestStrings = optional(located(some(stringMatch)), null);
const requestCidrs = optional(located(some(cidr)), null);
const requestPaths = optional(located(some(pathMatch)), null);

const source = object({
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

const operation = object({
  hosts: requestStrings,
  notHosts: requestStrings,
  ports: portList,
  notPorts: portList,
  methods: requestStrings,
  notMethods: requestStrings,
  paths: requestPaths,
  notPaths: requestPaths,
});

const asIs: Reader<Value> = (value) => value;
const condition = object({
  key: required(located(nonEmptyString)),
  // Read once the key has said what they are.
  values: optional<readonly Value[]>(some(asIs), []),
  notValues: optional<readonly Value[]>(some(asIs), []),
});

const whenEntry = located(condition);

/** `source: {}` reads as "anyone" to one and "no one" to another; Istio's validation refuses it, and so do we. */
function notEmpty<T>(read: Reader<T>, what: string): Reader<T> {
  return (value, path, report) => {
    const one = read(value, path, report);
    if (one === undefined || value.type !== "map" || value.entries.size > 0) return one;
    return wrong(
      value.from,
      `${path} is empty`,
      `an empty ${what} constrains nothing`,
      "name a field, or remove the entry",
      report,
    );
  };
}

const fromEntry = object({ source: required(located(notEmpty(source, "source"))) });
const toEntry = object({ operation: required(located(notEmpty(operation, "operation"))) });
export const ruleReader = located(
  object({
    from: optional<readonly Read<typeof fromEntry>[]>(some(fromEntry), []),
    to: optional<readonly Read<typeof toEntry>[]>(some(toEntry), []),
    when: optional<readonly Read<typeof whenEntry>[]>(some(whenEntry), []),
  }),
);

/** @param namespace of the policy: service accounts without one belong to it. */
export function toRule(
  { value: rule, from }: Read<typeof ruleReader>,
  namespace: string,
  action: PolicyAction,
  report: Report,
): Rule {
  const context = { action, report };
  return {
    sources: rule.from.map((entry) => toSource(entry.source, namespace, context)),
    operations: rule.to.map((entry) => toOperation(entry.operation, context)),
    when: rule.when.map((entry) => toCondition(entry, namespace, context)),
    unreadable: [],
    from,
  };
}

type RuleContext = { readonly action: PolicyAction; readonly report: Report };

function toSource(
  { value: read, from }: Read<typeof fromEntry>["source"],
  namespace: string,
  context: RuleContext,
): Source {
  const accountsUsed = read.serviceAccounts.length + read.notServiceAccounts.length > 0;
  const namesUsed = [read.principals, read.notPrincipals, read.namespaces, read.notNamespaces].some(
    (one) => one.length > 0,
  );
  if (accountsUsed && namesUsed) {
    wrong(
      from,
      "serviceAccounts stands beside principals or namespaces",
      "both say who the caller is, and Istio allows only one of them",
      "split them into two entries of from",
      context.report,
    );
  }
  for (const match of [...read.principals, ...read.notPrincipals]) reportScheme(match, from, context.report);
  reportRequestFields(read, sourceRequestFields, context);
  return {
    principals: read.principals,
    notPrincipals: read.notPrincipals,
    namespaces: read.namespaces,
    notNamespaces: read.notNamespaces,
    serviceAccounts: read.serviceAccounts.map((one) => qualified(one, namespace)),
    notServiceAccounts: read.notServiceAccounts.map((one) => qualified(one, namespace)),
    trustDomains: read.trustDomains,
    notTrustDomains: read.notTrustDomains,
    ipBlocks: read.ipBlocks,
    notIpBlocks: read.notIpBlocks,
    requestPrincipals: read.requestPrincipals?.value ?? [],
    notRequestPrincipals: read.notRequestPrincipals?.value ?? [],
    remoteIpBlocks: read.remoteIpBlocks?.value ?? [],
    notRemoteIpBlocks: read.notRemoteIpBlocks?.value ?? [],
    unreadable: [],
  };
}

function toOperation({ value: read }: Read<typeof toEntry>["operation"], context: RuleContext): Operation {
  reportRequestFields(read, operationRequestFields, context);
  return {
    ports: read.ports,
    notPorts: read.notPorts,
    hosts: read.hosts?.value ?? [],
    notHosts: read.notHosts?.value ?? [],
    methods: read.methods?.value ?? [],
    notMethods: read.notMethods?.value ?? [],
    paths: read.paths?.value ?? [],
    notPaths: read.notPaths?.value ?? [],
    unreadable: [],
  };
}

function qualified(account: string, namespace: string): string {
  return account.includes("/") ? account : `${namespace}/${account}`;
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

/** Each field in use that only a request shows is reported once per entry, with what it means for this action. */
function reportRequestFields<const N extends string>(
  read: Readonly<Record<N, { readonly from: Value["from"] } | null>>,
  names: readonly N[],
  context: RuleContext,
): void {
  for (const name of names) {
    const from = read[name]?.from;
    if (from !== undefined) reportHttp(from, name, context);
  }
}

function reportHttp(from: Value["from"], name: string, { action, report }: RuleContext): void {
  const effect = action === "ALLOW" ? "the rule never matches" : "it counts as matching";
  report.unsupported(
    from,
    `${name} needs HTTP, which is not judged yet: in a policy of action ${action}, ${effect}`,
    "a judge that sees only the connection must not be weaker than the rule",
    "decide by identity, address and port, or accept the stricter reading",
  );
}

/** How the values of a `when` key are read; Istio ignores keys it does not know, which here is an error. */
const keys: Readonly<Record<string, "cidr" | "port" | "string" | "account" | "http">> = {
  "source.ip": "cidr",
  "source.namespace": "string",
  "source.principal": "string",
  "source.serviceAccount": "account",
  "source.trustDomain": "string",
  "destination.ip": "cidr",
  "destination.port": "port",
  "connection.sni": "http",
  "remote.ip": "cidr",
  "request.auth.principal": "http",
  "request.auth.audiences": "http",
  "request.auth.presenter": "http",
};
/** Keys with a name in brackets, and Istio's experimental Envoy filters: seen by no L4 judge. */
const keyed =
  /^(request\.headers|request\.auth\.claims)(\[[^[\]]{1,256}\])+$|^experimental\.envoy\.filters\.[A-Za-z0-9._-]{1,256}(\[[^[\]]{1,256}\])?$/;

function toCondition(
  { value: read, from }: Read<typeof whenEntry>,
  namespace: string,
  context: RuleContext,
): Condition {
  const { report } = context;
  const key = read.key.value;
  const kind = Object.hasOwn(keys, key) ? keys[key] : keyed.test(key) ? "http" : undefined;
  if (kind === undefined) {
    report.error({
      code: "ORL4102",
      from: read.key.from,
      what: `when has no key ${JSON.stringify(key.slice(0, 80))}`,
      why: "a condition nobody can see would be taken for one that holds",
      fix: `keys: ${Object.keys(keys).join(", ")}, request.headers[…], request.auth.claims[…]`,
    });
  }
  if (read.values.length + read.notValues.length === 0) {
    wrong(
      from,
      "a condition has neither values nor notValues",
      "it would hold for everybody",
      "add values or notValues",
      report,
    );
  }
  const all = <T>(wanted: "cidr" | "port" | "string" | "account", values: readonly Value[], reader: Reader<T>): T[] =>
    kind === wanted || (wanted === "string" && kind === "http")
      ? values.flatMap((value, index) => reader(value, `${key}[${index}]`, report) ?? [])
      : [];
  const account: Reader<StringMatch> = (value, path) => {
    const name = serviceAccount(value, path, report);
    return name === undefined ? undefined : { kind: "exact", value: qualified(name, namespace) };
  };
  // remote.ip is the HTTP client behind a proxy (X-Forwarded-For); the connection does not show it.
  const isHttp = kind === "http" || key === "remote.ip";
  if (isHttp) reportHttp(read.key.from, key, context);
  return {
    key,
    strings: [...all("string", read.values, stringMatch), ...all("account", read.values, account)],
    notStrings: [...all("string", read.notValues, stringMatch), ...all("account", read.notValues, account)],
    cidrs: all("cidr", read.values, cidr),
    notCidrs: all("cidr", read.notValues, cidr),
    ports: all("port", read.values, portText),
    notPorts: all("port", read.notValues, portText),
    http: isHttp,
    from,
  };
}
