// any thread · a condition of a rule of an AuthorizationPolicy: `when`, a key with its values. Schema and translation.
import { fullName } from "../../mesh/full-name.ts";
import type { Condition, PolicyAction, StringMatch } from "../../mesh/policies.ts";
import type { SourceRef } from "../../mesh/source-ref.ts";
import { cidr, nonEmptyString, portText, serviceAccount, some, stringMatch } from "./fields.ts";
import { located, optional, parts, type Read, type Reader, required } from "./schema.ts";
import { type Report, type Value, wrong } from "./value.ts";

/** What the readings of a rule need to know of the policy around it. */
export type RuleContext = { readonly action: PolicyAction; readonly report: Report };

const asIs: Reader<Value> = (value) => value;
const condition = parts({
  key: required(located(nonEmptyString)),
  // The key decides how the values are read, so here they stay unread.
  values: optional<readonly Value[]>(some(asIs), []),
  notValues: optional<readonly Value[]>(some(asIs), []),
});

export const whenEntry = located(condition);

export function qualified(account: string, namespace: string): string {
  return account.includes("/") ? account : fullName({ namespace, name: account });
}

/** A field that neither a connection nor a request shows to this release. */
export function reportUnseen(from: Value["from"], name: string, { action, report }: RuleContext): void {
  const effect = action === "ALLOW" ? "the rule never matches" : "it counts as matching";
  report.unsupported(
    from,
    `${name} is not seen by this release: in a policy of action ${action}, ${effect}`,
    "a judge that does not see a field must not be weaker than the rule",
    "decide by what is seen (docs/policy.md), or accept the stricter reading",
  );
}

/** How the values of a `when` key are read; Istio ignores keys it does not know, which here is an error. */
type KeyKind = "cidr" | "port" | "string" | "account" | "http";
const keys: Readonly<Record<string, KeyKind>> = {
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
/** Keys with a name in brackets, and Istio's experimental Envoy filters. A connection alone shows neither. */
const keyed =
  /^(request\.headers|request\.auth\.claims)(\[[^[\]]{1,256}\])+$|^experimental\.envoy\.filters\.[A-Za-z0-9._-]{1,256}(\[[^[\]]{1,256}\])?$/;

export function toCondition(
  entry: Read<typeof whenEntry> | undefined,
  ruleFrom: SourceRef,
  namespace: string,
  context: RuleContext,
): Condition {
  if (entry === undefined) return unreadableCondition("*", ruleFrom);
  const { value: read, from } = entry;
  const { report } = context;
  const { key: written, values, notValues } = read.parts;
  const key = written?.value ?? "*";
  const kind = Object.hasOwn(keys, key) ? keys[key] : keyed.test(key) ? "http" : undefined;
  if (written !== undefined && kind === undefined) {
    report.error({
      code: "ORL4102",
      from: written.from,
      what: `when has no key ${JSON.stringify(key.slice(0, 80))}`,
      why: "a condition nobody can see would be taken for one that holds",
      fix: `keys: ${Object.keys(keys).join(", ")}, request.headers[…], request.auth.claims[…]`,
    });
  }
  if (values?.length === 0 && notValues?.length === 0) {
    wrong(
      from,
      "a condition has neither values nor notValues",
      "it would hold for everybody",
      "add values or notValues",
      report,
    );
  }
  // remote.ip is the HTTP client behind a proxy (X-Forwarded-For); the connection does not show it.
  const http = kind === "http" || key === "remote.ip";
  if (http && written !== undefined && !key.startsWith("request.headers[")) reportUnseen(written.from, key, context);
  const lists = listsOf(kind, { key, values: values ?? [], notValues: notValues ?? [] }, namespace, report);
  // A list without its unreadable values would match less than the list that was written.
  if (lists === undefined || read.unreadable.length > 0) return { ...unreadableCondition(key, from), http };
  return { key, ...lists, http, from };
}

type ValueLists = Pick<Condition, "strings" | "notStrings" | "cidrs" | "notCidrs" | "ports" | "notPorts">;
const emptyLists: ValueLists = { strings: [], notStrings: [], cidrs: [], notCidrs: [], ports: [], notPorts: [] };

/** A condition without values, which no judge can see: a DENY counts it as matching, an ALLOW as not matching. */
function unreadableCondition(key: string, from: SourceRef): Condition {
  return { key, ...emptyLists, http: false, from };
}

/** The values in the lists of their kind; undefined: a value cannot be read (reported). */
function listsOf(
  kind: KeyKind | undefined,
  {
    key,
    values,
    notValues,
  }: { readonly key: string; readonly values: readonly Value[]; readonly notValues: readonly Value[] },
  namespace: string,
  report: Report,
): ValueLists | undefined {
  const all = <T>(written: readonly Value[], reader: Reader<T>): readonly T[] | undefined => {
    const read = written.map((value, index) => reader(value, `${key}[${index}]`, report));
    const readable = read.filter((value) => value !== undefined);
    return readable.length === read.length ? readable : undefined;
  };
  const both = <T, L>(reader: Reader<T>, lists: (is: readonly T[], not: readonly T[]) => L): L | undefined => {
    const [is, not] = [all(values, reader), all(notValues, reader)];
    return is === undefined || not === undefined ? undefined : lists(is, not);
  };
  switch (kind) {
    case "cidr":
      return both(cidr, (cidrs, notCidrs) => ({ ...emptyLists, cidrs, notCidrs }));
    case "port":
      return both(portText, (ports, notPorts) => ({ ...emptyLists, ports, notPorts }));
    case "account":
      return both(accountOf(namespace), (strings, notStrings) => ({ ...emptyLists, strings, notStrings }));
    case "string":
    case "http":
      return both(stringMatch, (strings, notStrings) => ({ ...emptyLists, strings, notStrings }));
    case undefined:
      return emptyLists;
  }
}

function accountOf(namespace: string): Reader<StringMatch> {
  return (value, path, report) => {
    const name = serviceAccount(value, path, report);
    return name === undefined ? undefined : { kind: "exact", value: qualified(name, namespace) };
  };
}
