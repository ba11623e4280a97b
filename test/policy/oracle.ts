// The judge written a second time, naively and from the text of Istio's API, to hold the evaluator against. It shares no
// code with agent/policy or the store: it scans every policy, rebuilds every string, and reads addresses as big integers.
import type { ConnectionFacts } from "../../agent/mesh/facts.ts";
import type {
  AuthorizationPolicy,
  Cidr,
  Condition,
  Operation,
  PeerAuthentication,
  Rule,
  Source,
  StringMatch,
} from "../../agent/mesh/policies.ts";
import { headerHolds, isShown, type OracleRequest, requestHolds, type Unclear } from "./request-oracle.ts";

export type OracleMesh = {
  readonly authorizationPolicies: readonly AuthorizationPolicy[];
  readonly peerAuthentications: readonly PeerAuthentication[];
  readonly rootNamespace: string;
  readonly trustDomain: string;
};

/** Rules are written `namespace/name[index]`, whole policies `namespace/name`. */
export type OracleVerdict = {
  readonly verdict: "allow" | "deny";
  readonly reason: string;
  readonly by: string;
  readonly audited: readonly string[];
  readonly dryRunDenied: readonly string[];
};

/** @param request undefined: the connection alone is judged. */
export function ask(facts: ConnectionFacts, mesh: OracleMesh, request?: OracleRequest): OracleVerdict {
  const strictBy = strictPolicy(facts, mesh);
  const isAuthenticated = facts.security !== "none" && facts.sourceIdentity !== null;
  if (strictBy !== "" && !isAuthenticated) {
    return { verdict: "deny", reason: "mtls-required", by: strictBy, audited: [], dryRunDenied: [] };
  }

  const selecting = mesh.authorizationPolicies
    .filter((policy) => isSelected(policy, facts, mesh.rootNamespace))
    .toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  const firstOf = (action: string, dryRun: boolean): string[] =>
    selecting
      .filter((policy) => policy.action === action && policy.dryRun === dryRun)
      .map((policy) => firstRule(policy, facts, mesh, request))
      .filter((found) => found !== "");
  const all = (dryRun: boolean): AuthorizationPolicy[] =>
    selecting.filter((policy) => policy.action === "ALLOW" && policy.dryRun === dryRun);

  const denying = firstOf("DENY", false);
  const allowing = firstOf("ALLOW", false);
  const dryRunDenied = firstOf("DENY", true);
  if (all(false).length === 0 && firstOf("ALLOW", true).length === 0) dryRunDenied.push(...all(true).map(nameOf));
  const beside = { audited: firstOf("AUDIT", false), dryRunDenied };

  const whyUnclear = (action: "ALLOW" | "DENY"): string => {
    const enforced = selecting.filter((policy) => policy.action === action && !policy.dryRun);
    const rules = enforced.flatMap((policy) => policy.rules.map((rule) => ({ rule, policy })));
    const asked = { facts, mesh, request };
    // Of DENY rules the first that holds has decided.
    const about =
      action === "ALLOW" ? rules : rules.filter(({ rule, policy }) => ruleHolds(rule, policy, asked)).slice(0, 1);
    return about.map(({ rule, policy }) => unclearOf(rule, policy, asked)).find((why) => why !== "") ?? "";
  };
  if (denying[0] !== undefined) {
    return { verdict: "deny", reason: whyUnclear("DENY") || "denied-by-policy", by: denying[0], ...beside };
  }
  if (all(false).length === 0) return { verdict: "allow", reason: "", by: "", ...beside };
  if (allowing[0] !== undefined) return { verdict: "allow", reason: "", by: allowing[0], ...beside };
  return { verdict: "deny", reason: whyUnclear("ALLOW") || "no-allow-matched", by: "", ...beside };
}

function nameOf({ namespace, name }: { readonly namespace: string; readonly name: string }): string {
  return `${namespace}/${name}`;
}

/** "If in the root namespace, the selector additionally matches workloads in all namespaces." */
function isSelected(policy: AuthorizationPolicy, { destination }: ConnectionFacts, root: string): boolean {
  if (policy.namespace !== destination.namespace && policy.namespace !== root) return false;
  return hasLabels(policy.selector, destination.labels);
}

function hasLabels(
  selector: Readonly<Record<string, string>> | null,
  labels: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(selector ?? {}).every(([name, value]) => labels[name] === value);
}

/** Name of the policy that makes the port STRICT, or "". */
function strictPolicy(facts: ConnectionFacts, mesh: OracleMesh): string {
  const { destination, destinationPort } = facts;
  const inOrder = mesh.peerAuthentications.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const isGeneral = (policy: PeerAuthentication): boolean => Object.keys(policy.selector ?? {}).length === 0;
  const ofWorkload = inOrder.find(
    (policy) =>
      !isGeneral(policy) &&
      policy.namespace === destination.namespace &&
      hasLabels(policy.selector, destination.labels),
  );
  const ofNamespace = inOrder.find((policy) => isGeneral(policy) && policy.namespace === destination.namespace);
  const ofMesh = inOrder.find((policy) => isGeneral(policy) && policy.namespace === mesh.rootNamespace);
  const said = [
    { policy: ofWorkload, mode: ofWorkload?.portLevel[destinationPort] },
    { policy: ofWorkload, mode: ofWorkload?.mode },
    { policy: ofNamespace, mode: ofNamespace?.mode },
    { policy: ofMesh, mode: ofMesh?.mode },
  ].find(({ mode }) => mode !== undefined && mode !== "UNSET");
  return said?.policy !== undefined && said.mode === "STRICT" ? nameOf(said.policy) : "";
}

/** "A match occurs when at least one rule matches the request." */
function firstRule(
  policy: AuthorizationPolicy,
  facts: ConnectionFacts,
  mesh: OracleMesh,
  request: OracleRequest | undefined,
): string {
  const index = policy.rules.findIndex((rule) => ruleHolds(rule, policy, { facts, mesh, request }));
  return index < 0 ? "" : `${nameOf(policy)}[${index}]`;
}

/** Whose ambiguity decides whether the rule holds; "": it holds, or does not, whatever path and host mean. */
function unclearOf(rule: Rule, policy: AuthorizationPolicy, asked: Asked): string {
  if (asked.request === undefined) return "";
  const holds = (paths: boolean, hosts: boolean): boolean =>
    ruleHolds(rule, policy, { ...asked, unclear: { paths, hosts } });
  if (holds(false, false) === holds(true, true)) return "";
  return holds(false, true) ? "ambiguous-host" : "ambiguous-path";
}

type Asked = {
  readonly facts: ConnectionFacts;
  readonly mesh: OracleMesh;
  readonly request: OracleRequest | undefined;
  /** undefined: as the rule's action has it. */
  readonly unclear?: Unclear;
};

function ruleHolds(rule: Rule, { action }: AuthorizationPolicy, asked: Asked): boolean {
  const { facts, mesh, request } = asked;
  const isAllow = action === "ALLOW";
  const conditions = rule.when.map((condition) => conditionHolds(condition, isAllow, asked));
  const isUnseen =
    rule.unreadable.length > 0 ||
    rule.sources.some((source) => requestFieldsOf(source).length > 0) ||
    rule.operations.some((operation) =>
      request === undefined ? requestFieldsOf(operation).length > 0 : !isShown(operation),
    ) ||
    conditions.includes("cannot tell");
  if (isAllow && isUnseen) return false;
  const from = rule.sources.length === 0 || rule.sources.some((source) => sourceHolds(source, isAllow, facts, mesh));
  const to = rule.operations.length === 0 || rule.operations.some((entry) => operationHolds(entry, isAllow, asked));
  return from && to && !conditions.includes("no");
}

function conditionHolds(
  condition: Condition,
  isAllow: boolean,
  { facts, mesh, request }: Asked,
): "yes" | "no" | "cannot tell" {
  const byHeader = request === undefined ? undefined : headerHolds(condition, isAllow, request);
  return byHeader === undefined ? readCondition(condition, facts, mesh) : answer(byHeader);
}

/** Everything in an entry that a connection does not show, or that could not be read. */
function requestFieldsOf(entry: Source | Operation): readonly unknown[] {
  const connectionFields = /^(not)?(principals|namespaces|serviceAccounts|trustDomains|ipBlocks|ports)$/i;
  return Object.entries(entry).flatMap(([name, values]) => (connectionFields.test(name) ? [] : values));
}

type Caller = {
  readonly principal: string;
  readonly namespace: string;
  readonly account: string;
  readonly domain: string;
};

function callerOf({ security, sourceIdentity: id }: ConnectionFacts): Caller | undefined {
  if (security === "none" || id === null) return undefined;
  return {
    principal: `${id.trustDomain}/ns/${id.namespace}/sa/${id.serviceAccount}`,
    namespace: id.namespace,
    account: `${id.namespace}/${id.serviceAccount}`,
    domain: id.trustDomain,
  };
}

function sourceHolds(source: Source, isAllow: boolean, facts: ConnectionFacts, mesh: OracleMesh): boolean {
  const caller = callerOf(facts);
  const own = mesh.trustDomain;
  const accounts = (list: readonly string[]): boolean =>
    caller !== undefined && caller.domain === own && list.includes(caller.account);
  const wrote = [
    ...source.principals,
    ...source.notPrincipals,
    ...source.namespaces,
    ...source.notNamespaces,
    ...source.serviceAccounts,
    ...source.notServiceAccounts,
    ...source.trustDomains,
    ...source.notTrustDomains,
    ...source.ipBlocks,
    ...source.notIpBlocks,
    ...requestFieldsOf(source),
  ];
  if (wrote.length === 0) return !isAllow;
  return (
    (source.principals.length === 0 || anyText(source.principals, caller?.principal, own)) &&
    !anyText(source.notPrincipals, caller?.principal, own) &&
    (source.namespaces.length === 0 || anyText(source.namespaces, caller?.namespace)) &&
    !anyText(source.notNamespaces, caller?.namespace) &&
    (source.trustDomains.length === 0 || anyText(source.trustDomains, caller?.domain)) &&
    !anyText(source.notTrustDomains, caller?.domain) &&
    (source.serviceAccounts.length === 0 || accounts(source.serviceAccounts)) &&
    !accounts(source.notServiceAccounts) &&
    (source.ipBlocks.length === 0 || anyBlock(source.ipBlocks, facts.sourceAddress)) &&
    !anyBlock(source.notIpBlocks, facts.sourceAddress)
  );
}

function operationHolds(operation: Operation, isAllow: boolean, { facts, request, unclear }: Asked): boolean {
  const { ports, notPorts } = operation;
  if (ports.length + notPorts.length + requestFieldsOf(operation).length === 0) return !isAllow;
  const port = facts.destinationPort;
  const byPort = (ports.length === 0 || ports.includes(port)) && !notPorts.includes(port);
  return byPort && (request === undefined || requestHolds(operation, isAllow, request, unclear));
}

function readCondition(condition: Condition, facts: ConnectionFacts, mesh: OracleMesh): "yes" | "no" | "cannot tell" {
  const caller = callerOf(facts);
  const { strings, notStrings, cidrs, notCidrs, ports, notPorts } = condition;
  const [hasStrings, hasCidrs, hasPorts] = [
    strings.length + notStrings.length > 0,
    cidrs.length + notCidrs.length > 0,
    ports.length + notPorts.length > 0,
  ];
  const only = (first: boolean, second: boolean, third: boolean): boolean => first && !second && !third;
  const text = (value: string | undefined, domain?: string): "yes" | "no" | "cannot tell" =>
    only(hasStrings, hasCidrs, hasPorts)
      ? answer((strings.length === 0 || anyText(strings, value, domain)) && !anyText(notStrings, value, domain))
      : "cannot tell";
  const address = (value: string): "yes" | "no" | "cannot tell" =>
    only(hasCidrs, hasStrings, hasPorts)
      ? answer((cidrs.length === 0 || anyBlock(cidrs, value)) && !anyBlock(notCidrs, value))
      : "cannot tell";
  if (condition.http) return "cannot tell";
  if (condition.key === "source.principal") return text(caller?.principal, mesh.trustDomain);
  if (condition.key === "source.namespace") return text(caller?.namespace);
  if (condition.key === "source.trustDomain") return text(caller?.domain);
  if (condition.key === "source.serviceAccount") {
    return text(caller?.domain === mesh.trustDomain ? caller.account : undefined);
  }
  if (condition.key === "source.ip") return address(facts.sourceAddress);
  if (condition.key === "destination.ip") return address(facts.destinationAddress);
  if (condition.key === "destination.port" && only(hasPorts, hasStrings, hasCidrs)) {
    const port = facts.destinationPort;
    return answer((ports.length === 0 || ports.includes(port)) && !notPorts.includes(port));
  }
  return "cannot tell";
}

function answer(holds: boolean): "yes" | "no" {
  return holds ? "yes" : "no";
}

/** "Exact, prefix `abc*`, suffix `*abc`, presence `*`: the field is not empty." Without a value nothing matches. */
function anyText(matches: readonly StringMatch[], value: string | undefined, ownDomain?: string): boolean {
  if (value === undefined || value === "") return false;
  return matches.some((match) => {
    if (match.kind === "presence") return true;
    // "cluster.local is a pointer to the local trust domain."
    const begins = match.kind !== "suffix" && ownDomain !== undefined && match.value.indexOf("cluster.local/") === 0;
    const wanted = begins ? ownDomain + match.value.substring(13) : match.value;
    if (match.kind === "exact") return value === wanted;
    if (match.kind === "prefix") return value.substring(0, wanted.length) === wanted;
    return value.length >= wanted.length && value.substring(value.length - wanted.length) === wanted;
  });
}

function anyBlock(blocks: readonly Cidr[], address: string): boolean {
  return blocks.some(({ text }) => {
    const [network = "", length] = text.split("/");
    if (network.includes(":") !== address.includes(":")) return false;
    const width = network.includes(":") ? 128n : 32n;
    const shift = width - (length === undefined ? width : BigInt(length));
    return numberOf(network) >> shift === numberOf(address) >> shift;
  });
}

const known = new Map<string, bigint>();

/** Remembered, since a big integer per question would be the test's whole cost. */
function numberOf(address: string): bigint {
  const before = known.get(address);
  if (before !== undefined) return before;
  const number = address.includes(":") ? numberOf6(address) : numberOf4(address);
  if (known.size < 100_000) known.set(address, number);
  return number;
}

function numberOf4(address: string): bigint {
  return address.split(".").reduce((sum, octet) => sum * 256n + BigInt(octet), 0n);
}

function numberOf6(address: string): bigint {
  const [head = "", tail = ""] = address.split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === "" ? [] : tail.split(":");
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => "0");
  return [...before, ...zeros, ...after].reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n);
}
