// 9 · any thread · was a request refused by a rule, or because nobody can say what its path or host means to the application? Pure.
import type { ConnectionFacts, RequestFacts } from "../mesh/facts.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { CompiledRule } from "./compile-rule.ts";
import type { DenyReason } from "./decision.ts";
import { neverOf } from "./match.ts";
import type { RuleCheck } from "./rule-checks.ts";

export type Ambiguity = Extract<DenyReason, "ambiguous-path" | "ambiguous-host">;

/** What a check of an ambiguous text is taken to say: of the path, and of the host. */
type Guess = Readonly<Record<"path" | "host", boolean>>;
type Asked = { readonly facts: ConnectionFacts; readonly who: SpiffeId | null; readonly request: RequestFacts };

/**
 * The text whose ambiguity made the difference: with a clear text a DENY rule that matched might not have matched, or an ALLOW rule that did
 * not match might have. null: the rule says the same whatever the request means, or no text is ambiguous.
 */
export function ambiguityOf(rule: CompiledRule, facts: ConnectionFacts, who: SpiffeId | null): Ambiguity | null {
  const { request } = facts;
  if (typeof request === "string" || !isAmbiguous(request)) return null;
  const asked: Asked = { facts, who, request };
  if (!holdsBy(rule, asked, { path: true, host: true })) return null;
  if (holdsBy(rule, asked, { path: false, host: false })) return null;
  return holdsBy(rule, asked, { path: false, host: true }) ? "ambiguous-host" : "ambiguous-path";
}

/** A flood of refused requests must not cost more than this many rules each. */
const MOST_RULES = 64;

/** After "no ALLOW rule matched": the first ambiguity that a rule meets, of the first so many. */
export function ambiguityOfAll(
  rules: readonly CompiledRule[],
  facts: ConnectionFacts,
  who: SpiffeId | null,
): Ambiguity | null {
  if (typeof facts.request === "string" || !isAmbiguous(facts.request)) return null;
  for (const rule of rules.slice(0, MOST_RULES)) {
    const found = ambiguityOf(rule, facts, who);
    if (found !== null) return found;
  }
  return null;
}

function isAmbiguous({ path, host }: RequestFacts): boolean {
  return path.ambiguity !== null || host.ambiguity !== null;
}

/** As `matchesRule`, but for the checks whose text is ambiguous. */
function holdsBy(rule: CompiledRule, { facts, who, request }: Asked, guess: Guess): boolean {
  const holds = ({ text, holds: check }: RuleCheck): boolean =>
    text !== undefined && request[text].ambiguity !== null ? guess[text] : check(facts, who);
  const any = (entries: CompiledRule["operations"]): boolean =>
    entries.length === 0 || entries.some((checks) => checks.every(holds));
  return neverOf(rule, facts) === null && rule.when.every(holds) && any(rule.operations) && any(rule.sources);
}
