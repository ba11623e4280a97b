// 9 · any thread · each field of a rule as one check of the connection, made once per policy. Pure.
import type { ConnectionFacts } from "../mesh/facts.ts";
import { cidrContains, parseIp } from "../mesh/ip.ts";
import type { Cidr, StringMatch } from "../mesh/policies.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";

/** A check that a judge of connections makes. `who` is the proved identity, null for plaintext whatever the facts claim. */
export type ConnectionCheck = {
  /** "nobody": it answers by the strict reading of a field that cannot be seen, not by the connection. */
  readonly needs: "connection" | "nobody";
  /** As the user would name it: source.principals, operation.ports, when source.ip. */
  readonly field: string;
  /** Whether it looks at the addresses of the connection. */
  readonly ofAddresses?: true;
  readonly holds: (facts: ConnectionFacts, who: SpiffeId | null) => boolean;
  /** For people: what the rule asks for. */
  readonly want: () => string;
  /** For people: what the connection had. */
  readonly got: (facts: ConnectionFacts, who: SpiffeId | null) => string;
};

/** What principals are written without. */
export const SCHEME = "spiffe://";
/** Istio: this trust domain in a principal points to the mesh's own, whatever that is called. */
const OWN_TRUST_DOMAIN = "cluster.local/";
/** Longer lists of exact values are looked up instead of compared in turn. */
const SET_FROM = 4;

type TextTest = (text: string) => boolean;

/** Any of `matches` on the text. */
function anyOf(matches: readonly StringMatch[]): TextTest {
  const tests = matches.flatMap((match) => (match.kind === "exact" ? [] : [testOf(match)]));
  const exact = matches.flatMap((match) => (match.kind === "exact" ? [match.value] : []));
  const [only] = exact;
  if (only !== undefined && exact.length === 1 && tests.length === 0) return (text) => text === only;
  if (exact.length >= SET_FROM) {
    const set = new Set(exact);
    tests.unshift((text) => set.has(text));
  } else
    tests.unshift(
      ...exact.map(
        (value): TextTest =>
          (text) =>
            text === value,
      ),
    );
  const [first] = tests;
  if (first !== undefined && tests.length === 1) return first;
  return (text) => tests.some((test) => test(text));
}

/**
 * Raw characters, as in Istio: `*` crosses segments (docs/reference/failures.md, row C15), so `…/ns/prod*` also takes `…/ns/prod-evil/…`.
 */
function testOf(match: StringMatch): TextTest {
  switch (match.kind) {
    case "exact":
      return (text) => text === match.value;
    case "prefix":
      return (text) => text.startsWith(match.value);
    case "suffix":
      return (text) => text.endsWith(match.value);
    case "presence":
      return (text) => text !== "";
  }
}

function written(match: StringMatch): string {
  if (match.kind === "presence") return "*";
  return match.kind === "prefix" ? `${match.value}*` : match.kind === "suffix" ? `*${match.value}` : match.value;
}

function list(values: readonly string[], not: boolean): string {
  return `${not ? "not " : ""}${values.join(" or ")}`;
}

type Part = (who: SpiffeId) => string;

/** A part of the identity. Without identity no positive match holds and every negative does. */
export function identityCheck(
  field: string,
  matches: readonly StringMatch[],
  part: Part,
  not: boolean,
): ConnectionCheck {
  const test = anyOf(matches);
  return {
    needs: "connection",
    field,
    holds: not ? (_, who) => who === null || !test(part(who)) : (_, who) => who !== null && test(part(who)),
    want: () => list(matches.map(written), not),
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
): ConnectionCheck {
  const test = anyOf(accounts);
  const matches = (who: SpiffeId): boolean =>
    who.trustDomain === trustDomain && test(`${who.namespace}/${who.serviceAccount}`);
  return {
    needs: "connection",
    field,
    holds: not ? (_, who) => who === null || !matches(who) : (_, who) => who !== null && matches(who),
    want: () => list(accounts.map(written), not),
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
): ConnectionCheck {
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
      list(
        blocks.map(({ text }) => text),
        not,
      ),
    got: (facts) => address(facts),
  };
}

export function portCheck(field: string, ports: readonly number[], not: boolean): ConnectionCheck {
  return {
    needs: "connection",
    field,
    holds: ({ destinationPort }) => ports.includes(destinationPort) !== not,
    want: () => list(ports.map(String), not),
    got: ({ destinationPort }) => String(destinationPort),
  };
}

/** A field that no judge of connections can see, or an entry without fields; `matches` by l4-view.ts. */
export function unseenCheck(
  field: string,
  matches: boolean,
  words: { readonly want: string; readonly got: string },
): ConnectionCheck {
  return { needs: "nobody", field, holds: () => matches, want: () => words.want, got: () => words.got };
}
