// 9 · any thread · each field of a rule that a connection shows as one check of it, made once per policy. Pure.
import type { ConnectionFacts } from "../mesh/facts.ts";
import { cidrContains, parseIp } from "../mesh/ip.ts";
import type { Cidr, StringMatch } from "../mesh/policies.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import { anyOf, wanted, written } from "./text-match.ts";

/** One field of a rule. `who` is the proved identity, null for plaintext whatever the facts claim. */
export type RuleCheck = {
  /** Where the field shows. "nobody": nowhere, so the check answers by the strict reading (l4-view.ts). */
  readonly needs: "connection" | "request" | "nobody";
  /** As the user would name it: source.principals, operation.ports, when source.ip. */
  readonly field: string;
  /** Whether it looks at the addresses of the connection. */
  readonly ofAddresses?: true;
  /** Of a check that looks at the destination's port alone: whether it holds at this port. */
  readonly atPort?: (port: number) => boolean;
  /** Which text of a request it compares, of those that may be ambiguous. */
  readonly text?: "path" | "host";
  readonly holds: (facts: ConnectionFacts, who: SpiffeId | null) => boolean;
  /** For people: what the rule asks for. */
  readonly want: () => string;
  /** For people: what was there instead. */
  readonly got: (facts: ConnectionFacts, who: SpiffeId | null) => string;
};

/** What principals are written without. */
export const SCHEME = "spiffe://";
/** Istio: this trust domain in a principal points to the mesh's own, whatever that is called. */
const OWN_TRUST_DOMAIN = "cluster.local/";
type Part = (who: SpiffeId) => string;

/** A part of the identity. Without identity no positive match holds and every negative does. */
export function identityCheck(field: string, matches: readonly StringMatch[], part: Part, not: boolean): RuleCheck {
  const test = anyOf(matches);
  return {
    needs: "connection",
    field,
    holds: not ? (_, who) => who === null || !test(part(who)) : (_, who) => who !== null && test(part(who)),
    want: () => wanted(matches.map(written), not),
    got: (_, who) => (who === null ? "no identity" : part(who)),
  };
}

export const namespaceOf: Part = (who) => who.namespace;
export const trustDomainOf: Part = (who) => who.trustDomain;
/** `<trust domain>/ns/<namespace>/sa/<account>`: what Istio compares. */
export const principalOf: Part = (who) => who.text.slice(SCHEME.length);

/** Principals with `cluster.local` read as the mesh's own trust domain. A bare prefix such as `cluster.l*` stays as it is. */
export function ownPrincipals(matches: readonly StringMatch[], trustDomain: string): readonly StringMatch[] {
  return matches.map((match) => {
    if (match.kind !== "exact" && match.kind !== "prefix") return match;
    if (!match.value.startsWith(OWN_TRUST_DOMAIN)) return match;
    return { kind: match.kind, value: `${trustDomain}/${match.value.slice(OWN_TRUST_DOMAIN.length)}` };
  });
}

/** `<namespace>/<name>` of the mesh's own trust domain: the same name elsewhere is another (docs/reference/failures.md, C7). */
export function accountCheck(
  field: string,
  accounts: readonly StringMatch[],
  { trustDomain, not }: { readonly trustDomain: string; readonly not: boolean },
): RuleCheck {
  const test = anyOf(accounts);
  const matches = (who: SpiffeId): boolean =>
    who.trustDomain === trustDomain && test(`${who.namespace}/${who.serviceAccount}`);
  return {
    needs: "connection",
    field,
    holds: not ? (_, who) => who === null || !matches(who) : (_, who) => who !== null && matches(who),
    want: () => wanted(accounts.map(written), not),
    got: (_, who) => {
      if (who === null) return "no identity";
      const account = `${who.namespace}/${who.serviceAccount}`;
      return who.trustDomain === trustDomain ? account : `${account} of ${who.trustDomain}`;
    },
  };
}

/** @param unseen the result when the address cannot be read, which canonical facts never cause. */
export function addressCheck(
  field: string,
  blocks: readonly Cidr[],
  { of, not, unseen }: { readonly of: "source" | "destination"; readonly not: boolean; readonly unseen: boolean },
): RuleCheck {
  const address = (facts: ConnectionFacts): string =>
    of === "source" ? facts.sourceAddress : facts.destinationAddress;
  return {
    needs: "connection",
    field,
    ofAddresses: true,
    holds: (facts) => {
      const bytes = parseIp(address(facts));
      return bytes === undefined ? unseen : blocks.some((block) => cidrContains(block, bytes)) !== not;
    },
    want: () =>
      wanted(
        blocks.map(({ text }) => text),
        not,
      ),
    got: (facts) => address(facts),
  };
}

/** @param field as the policy writes it, for explanations @param not whether the ports are those at which the rule does not hold */
export function portCheck(field: string, ports: readonly number[], not: boolean): RuleCheck {
  const atPort = (port: number): boolean => ports.includes(port) !== not;
  return {
    needs: "connection",
    field,
    atPort,
    holds: ({ destinationPort }) => atPort(destinationPort),
    want: () => wanted(ports.map(String), not),
    got: ({ destinationPort }) => String(destinationPort),
  };
}

/** A field that no judge of connections can see, or an entry without fields; `matches` by l4-view.ts. */
export function unseenCheck(
  field: string,
  matches: boolean,
  words: { readonly want: string; readonly got: string },
): RuleCheck {
  return { needs: "nobody", field, holds: () => matches, want: () => words.want, got: () => words.got };
}
