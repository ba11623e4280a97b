// Random worlds for the oracle: few names, all nearly alike, so that almost every rule almost matches.
import type { ConnectionFacts } from "../../agent/mesh/facts.ts";
import { parseCidr } from "../../agent/mesh/ip.ts";
import type {
  AuthorizationPolicy,
  Cidr,
  Condition,
  MtlsMode,
  Operation,
  PeerAuthentication,
  Rule,
  Source,
  StringMatch,
} from "../../agent/mesh/policies.ts";
import { nowhere } from "../../agent/mesh/source-ref.ts";
import { spiffeId } from "../../agent/mesh/spiffe-id.ts";
import type { Workload } from "../../agent/mesh/workload.ts";
import type { Dice } from "../support/dice.ts";
import { randomMatch } from "./random-match.ts";
import { randomHeaderCondition, randomRequestFields } from "./random-request.ts";

export const rootNamespace = "istio-system";
const domains = ["cluster.local", "cluster.local.evil", "cluster.loca", "mesh.example", "xcluster.local"];
const namespaces = ["prod", "prod-evil", "pro", "xprod", rootNamespace];
const accounts = ["api", "api-evil", "ap", "xapi"];
const addresses = ["10.0.0.1", "10.0.0.2", "10.0.1.1", "11.0.0.1", "192.168.0.1", "fd00::1", "fd00::2", "fd00:0:1::1"];
const ports = [80, 8080, 8081, 443];
const labelSets = [{ app: "api" }, { app: "api", version: "v1" }, { app: "web" }, { version: "v1" }, {}] as const;
/** Of five or more exact values the evaluator looks up in a set; long lists must occur. */
const LONG = 7;

/** The mesh's own trust domain: with the second, `cluster.local` in a principal is a pointer. */
export function randomTrustDomain(dice: Dice): string {
  return dice.pick(["cluster.local", "mesh.example"]);
}

export function randomLabels(dice: Dice): Workload["labels"] {
  return dice.pick(labelSets);
}

export function randomWorkloads(dice: Dice, trustDomain: string): readonly Workload[] {
  return [0, 1].map((index): Workload => {
    const namespace = dice.pick(namespaces);
    return {
      uid: `c//Pod/${namespace}/w${index}`,
      podUid: "",
      name: `w${index}`,
      namespace,
      addresses: [dice.pick(addresses)],
      node: "n1",
      network: "",
      cluster: "c",
      identity: spiffeId(trustDomain, namespace, dice.pick(accounts)),
      labels: randomLabels(dice),
      protocol: "hbone",
      ports: {},
      probePorts: null,
      removesProxyHeaders: false,
      healthy: true,
      locality: { region: "", zone: "", subzone: "" },
      weight: 1,
      workloadName: "w",
      canonicalName: "w",
      canonicalRevision: "latest",
      from: nowhere,
    };
  });
}

export function randomFacts(dice: Dice, destinations: readonly Workload[]): ConnectionFacts {
  const destination = dice.pick(destinations);
  return {
    sourceAddress: dice.pick(addresses),
    sourcePort: 40_000,
    // An identity beside "none" is a claim nobody proved; the judge must not read it.
    sourceIdentity: dice.chance(15) ? null : spiffeId(dice.pick(domains), dice.pick(namespaces), dice.pick(accounts)),
    destinationAddress: destination.addresses[0] ?? "10.0.0.1",
    destinationPort: dice.pick(ports),
    destination,
    security: dice.pick(["mtls", "mtls", "socket", "none"] as const),
    request: "strict",
  };
}

const selectors = [null, null, { app: "api" }, { app: "api", version: "v1" }, { version: "v1" }, {}] as const;

/** @param requests percentage of operations, for each list of HTTP, and of conditions that are about a request. */
export function randomPolicy(
  dice: Dice,
  name: string,
  destinations: readonly Workload[],
  requests = 4,
): AuthorizationPolicy {
  const near = dice.pick(destinations);
  return {
    name,
    namespace: dice.pick([near.namespace, near.namespace, rootNamespace, dice.pick(namespaces)]),
    selector: dice.pick(selectors),
    action: dice.pick(["ALLOW", "ALLOW", "DENY", "DENY", "AUDIT"] as const),
    dryRun: dice.chance(15),
    rules: dice.some(92, 3, () => randomRule(dice, requests)),
    from: nowhere,
  };
}

const modes: readonly MtlsMode[] = ["UNSET", "DISABLE", "PERMISSIVE", "STRICT"];

export function randomPeerAuthentication(
  dice: Dice,
  name: string,
  destinations: readonly Workload[],
): PeerAuthentication {
  const near = dice.pick(destinations);
  return {
    name,
    namespace: dice.pick([near.namespace, rootNamespace, dice.pick(namespaces)]),
    selector: dice.pick(selectors),
    mode: dice.pick(modes),
    portLevel: Object.fromEntries(dice.some(50, 2, () => [dice.pick(ports), dice.pick(modes)])),
    from: nowhere,
  };
}

function randomRule(dice: Dice, requests: number): Rule {
  return {
    sources: dice.some(70, 2, () => randomSource(dice)),
    operations: dice.some(40 + requests, 2, () => randomOperation(dice, requests)),
    when: dice.some(30, 2, () => (dice.chance(requests) ? randomHeaderCondition(dice) : randomCondition(dice))),
    unreadable: dice.some(2, 1, () => dice.pick(["from", "to", "when", "newer"])),
    from: nowhere,
  };
}

function randomSource(dice: Dice): Source {
  const principal = (): StringMatch => randomMatch(dice, randomPrincipal(dice));
  const namespace = (): StringMatch => randomMatch(dice, dice.pick(namespaces));
  const domain = (): StringMatch => randomMatch(dice, dice.pick(domains));
  const account = (): string => `${dice.pick(namespaces)}/${dice.pick(accounts)}`;
  const most = dice.chance(10) ? LONG : 2;
  return {
    principals: dice.some(35, most, principal),
    notPrincipals: dice.some(12, 2, principal),
    namespaces: dice.some(20, most, namespace),
    notNamespaces: dice.some(8, 2, namespace),
    serviceAccounts: dice.some(12, most, account),
    notServiceAccounts: dice.some(6, 2, account),
    trustDomains: dice.some(8, 2, domain),
    notTrustDomains: dice.some(5, 2, domain),
    ipBlocks: dice.some(15, 2, () => randomCidr(dice)),
    notIpBlocks: dice.some(8, 2, () => randomCidr(dice)),
    requestPrincipals: dice.some(3, 1, (): StringMatch => ({ kind: "presence" })),
    notRequestPrincipals: [],
    remoteIpBlocks: [],
    notRemoteIpBlocks: dice.some(1, 1, () => randomCidr(dice)),
    unreadable: dice.some(2, 1, () => "principals"),
  };
}

function randomOperation(dice: Dice, requests: number): Operation {
  return {
    ports: dice.some(60, 2, () => dice.pick(ports)),
    notPorts: dice.some(25, 2, () => dice.pick(ports)),
    ...randomRequestFields(dice, requests),
    unreadable: dice.some(2, 1, () => "newer"),
  };
}

function randomPrincipal(dice: Dice): string {
  const text = `${dice.pick(domains)}/ns/${dice.pick(namespaces)}/sa/${dice.pick(accounts)}`;
  return dice.chance(4) ? `spiffe://${text}` : text;
}

function randomCidr(dice: Dice): Cidr {
  const address = dice.pick(addresses);
  const length = dice.pick(address.includes(":") ? [0, 16, 47, 48, 64, 127, 128] : [0, 1, 8, 15, 23, 24, 31, 32]);
  const cidr = parseCidr(dice.chance(20) ? address : `${address}/${length}`);
  if (cidr === undefined) throw new Error(`${address}/${length} is no block`);
  return cidr;
}

const identityKeys = ["source.namespace", "source.principal", "source.serviceAccount", "source.trustDomain"];
const otherKeys = [
  "connection.sni",
  "experimental.envoy.filters.a",
  "request.headers[x]",
  "constructor",
  "source.newer",
];

function randomCondition(dice: Dice): Condition {
  const empty = { strings: [], notStrings: [], cidrs: [], notCidrs: [], ports: [], notPorts: [] };
  const base = { ...empty, http: false, from: nowhere };
  const kind = dice.roll(10);
  if (kind < 2) {
    const lists = {
      cidrs: dice.some(70, 2, () => randomCidr(dice)),
      notCidrs: dice.some(40, 1, () => randomCidr(dice)),
    };
    return { ...base, ...lists, key: dice.pick(["source.ip", "destination.ip"]) };
  }
  if (kind < 4) {
    const port = (): number => dice.pick(ports);
    return { ...base, ports: dice.some(70, 2, port), notPorts: dice.some(40, 1, port), key: "destination.port" };
  }
  const key = kind < 9 ? dice.pick(identityKeys) : dice.pick(otherKeys);
  const value = (): StringMatch => randomMatch(dice, textFor(dice, key));
  const lists = { strings: dice.some(75, 2, value), notStrings: dice.some(35, 2, value) };
  // Now and then a list that its key does not read, as a newer control plane might send.
  const odd = dice.chance(3) ? { ports: [80] } : {};
  return { ...base, ...lists, ...odd, key, http: key === "connection.sni" || dice.chance(2) };
}

function textFor(dice: Dice, key: string): string {
  if (key === "source.namespace") return dice.pick(namespaces);
  if (key === "source.trustDomain") return dice.pick(domains);
  if (key === "source.serviceAccount") return `${dice.pick(namespaces)}/${dice.pick(accounts)}`;
  return randomPrincipal(dice);
}
