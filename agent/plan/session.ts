// 18 · any thread · sessions of a rule (gateway-api:geps/gep-1619): requests that bring a token go to the endpoint that it names, as long as that
// is an endpoint of the rule's backends. A token is no secret and proves nothing: who makes it up chooses among these endpoints. Pure but for
// its memory of what it has hashed.
import { hash } from "node:crypto";
import type { RequestFacts } from "../mesh/facts.ts";
import { fullName, type NamespacedName } from "../mesh/full-name.ts";
import type { FieldEdits, PathCondition, SessionPersistence } from "../mesh/http-rule.ts";
import { cookieOf } from "./hash-key.ts";

/** Of the endpoint that has the session; the end of the session is behind it. */
export type SessionToken = string;

/** Characters of a token's hash: 132 bits, so that no address can be read from it and no two are alike. */
const LENGTH = 22;
/** Tokens that are remembered; then it begins anew. */
const MOST_KNOWN = 10_000;
const known = new Map<string, SessionToken>();

type At = { readonly address: string; readonly port: number };

/** The same on every node and for every agent. */
export function tokenOf(service: NamespacedName, { address, port }: At): SessionToken {
  const key = `${fullName(service)} ${address} ${port}`;
  const found = known.get(key);
  if (found !== undefined) return found;
  if (known.size >= MOST_KNOWN) known.clear();
  const token = hash("sha256", key, "base64url").slice(0, LENGTH);
  known.set(key, token);
  return token;
}

/** Of a rule that has no name of its own for it: `orlop-` and what tells the rule from others. */
export const sessionName = ({ name }: SessionPersistence, rule: string): string =>
  name ?? `orlop-${hash("sha256", rule, "hex").slice(0, 8)}`;

/**
 * What the request brings; null: nothing, or its session is over.
 * @param nowMs milliseconds since 1970
 */
export function broughtToken(
  session: SessionPersistence,
  rule: string,
  header: RequestFacts["header"],
  nowMs: number,
): SessionToken | null {
  const name = sessionName(session, rule);
  const [sent] = session.by === "cookie" ? [cookieOf(header("cookie"), name)] : header(name);
  const [, token, end = "0"] = /^([A-Za-z0-9_-]{22})(?:\.([0-9a-z]{1,11}))?$/.exec(sent ?? "") ?? [];
  if (token === undefined) return null;
  return session.lastsMs > 0 && Number.parseInt(end, 36) * 1_000 <= nowMs ? null : token;
}

/** What the response gets, so that the next request brings the token. */
export function sessionEdits(
  session: SessionPersistence,
  { rule, path, token, nowMs }: { rule: string; path: PathCondition; token: SessionToken; nowMs: number },
): FieldEdits {
  const name = sessionName(session, rule);
  const { lastsMs } = session;
  const value = lastsMs === 0 ? token : `${token}.${Math.ceil((nowMs + lastsMs) / 1_000).toString(36)}`;
  if (session.by === "header") return { set: [{ name, value }], add: [], remove: [] };
  const age = session.isPermanent ? `; Max-Age=${Math.ceil(lastsMs / 1_000)}` : "";
  return {
    set: [],
    add: [{ name: "set-cookie", value: `${name}=${value}; Path=${cookiePath(path)}${age}; HttpOnly; SameSite=Lax` }],
    remove: [],
  };
}

/** As far as the rule's match says it; a path that a cookie cannot name is all of them. */
function cookiePath({ kind, value }: PathCondition): string {
  return kind !== "expression" && /^\/[\x21-\x3a\x3c-\x7e]*$/.test(value) ? value : "/";
}
