// 20 · any thread · cross-origin sharing (fetch.spec.whatwg.org, section 3.3) as a route's filter says it: what a preflight is answered, and
// what the response to any other request gets. Pure.
import type { RequestFacts } from "../mesh/facts.ts";
import type { Cors, FieldEdits, NamedValue } from "../mesh/http-rule.ts";

export type Shared =
  /** The answer, in the place of the backend's. */
  | { readonly kind: "preflight"; readonly status: 204 | 403; readonly edits: FieldEdits }
  /** Of the backend's response. */
  | { readonly kind: "response"; readonly edits: FieldEdits };

/** Browsers send origins of this form; others are nobody's. */
const LONGEST_ORIGIN = 300;
const origin = /^(https?):\/\/([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?$/;
const anyOrigin = /^[a-z][a-z0-9+.-]*:\/\/[\x21-\x7e]+$/;
const token = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$/;
const tokens = /^[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,1024}$/;

/** An origin with the port that its scheme has anyway left out. undefined: it is none of HTTP. */
export function canonicalOrigin(text: string): string | undefined {
  const [whole, scheme = "", host = "", digits] =
    (text.length <= LONGEST_ORIGIN && origin.exec(text.toLowerCase())) || [];
  if (whole === undefined) return undefined;
  const usual = scheme === "http" ? 80 : 443;
  return digits === undefined || Number(digits) === usual
    ? `${scheme}://${host}`
    : `${scheme}://${host}:${Number(digits)}`;
}

/** What the route's CORS filter makes of a request: the answer to a preflight, or edits of the response (Fetch Standard, "CORS protocol"). */
export function sharedBy(cors: Cors, { method, header }: Pick<RequestFacts, "method" | "header">): Shared {
  const sent = header("origin");
  const asked = header("access-control-request-method");
  const [from = ""] = sent;
  const isPreflight = method === "OPTIONS" && sent.length === 1 && asked.length === 1;
  const allowed = sent.length === 1 ? allowedOrigin(cors, from) : null;
  // A cache must not give one origin what another was given.
  const vary: readonly NamedValue[] = isForAll(cors) ? [] : [{ name: "vary", value: "Origin" }];
  if (allowed === null) {
    // The route says who may read, and not the application.
    const edits = { set: [], add: vary, remove: ["access-control-allow-origin", "access-control-allow-credentials"] };
    return isPreflight ? { kind: "preflight", status: 403, edits } : { kind: "response", edits };
  }
  const exposed = cors.exposes.includes("*") && cors.credentials ? [] : cors.exposes;
  const common = [
    { name: "access-control-allow-origin", value: allowed },
    ...(cors.credentials ? [{ name: "access-control-allow-credentials", value: "true" }] : []),
    ...listed("access-control-expose-headers", exposed),
  ];
  if (!isPreflight) return { kind: "response", edits: { set: common, add: vary, remove: [] } };
  const set = [
    ...common,
    ...listed("access-control-allow-methods", granted(cors, cors.methods, asked, token)),
    ...listed(
      "access-control-allow-headers",
      granted(cors, cors.headers, header("access-control-request-headers"), tokens),
    ),
    { name: "access-control-max-age", value: String(cors.maxAgeSeconds) },
  ];
  return { kind: "preflight", status: 204, edits: { set, add: vary, remove: [] } };
}

/** The same answer for every origin. */
const isForAll = ({ origins, credentials }: Cors): boolean => origins.includes("*") && !credentials;

/** As it is answered; null: it is not allowed. */
function allowedOrigin(cors: Cors, sent: string): string | null {
  if (isForAll(cors)) return "*";
  if (cors.origins.includes("*")) return sent.length <= LONGEST_ORIGIN && anyOrigin.test(sent) ? sent : null;
  const asked = canonicalOrigin(sent);
  return asked !== undefined && cors.origins.some((allowed) => isOf(allowed, asked)) ? sent : null;
}

/** Both canonical; a star takes at least one character of a host, dots as well. */
function isOf(allowed: string, asked: string): boolean {
  const star = allowed.indexOf("*");
  if (star < 0) return allowed === asked;
  const [before, behind] = [allowed.slice(0, star), allowed.slice(star + 1)];
  if (asked.length <= before.length + behind.length || !asked.startsWith(before) || !asked.endsWith(behind))
    return false;
  const taken = asked.slice(before.length, asked.length - behind.length);
  return !taken.includes(":") || (taken.startsWith("[") && taken.endsWith("]"));
}

/** With credentials a star means nothing to a browser: what was asked for is said in its place. */
function granted(cors: Cors, allowed: readonly string[], asked: readonly string[], form: RegExp): readonly string[] {
  if (!allowed.includes("*") || !cors.credentials) return allowed;
  const text = asked.join(", ");
  return form.test(text) ? [text] : [];
}

const listed = (name: string, values: readonly string[]): readonly NamedValue[] =>
  values.length === 0 ? [] : [{ name, value: values.join(", ") }];
