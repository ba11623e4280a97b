// 20 · any thread · what a route makes of a request's target, and where a redirect sends its caller. Pure.
import type { PathReplacement, Redirect } from "../mesh/http-rule.ts";

/**
 * The target in place of `target`, whose query stays.
 * @param prefix by which the request has matched, without a slash at its end; it counts for replacements of kind "prefix" alone.
 */
export function replacedTarget(target: string, replacement: PathReplacement | null, prefix: string): string {
  if (replacement === null || !target.startsWith("/")) return target;
  const query = target.indexOf("?");
  const end = query < 0 ? target.length : query;
  const path = replacedPath(target.slice(0, end), replacement, prefix);
  return path + target.slice(end);
}

/** gateway-api:apis/v1/httproute_types.go, the table of HTTPPathModifier.replacePrefixMatch. */
function replacedPath(path: string, { kind, value }: PathReplacement, prefix: string): string {
  if (kind === "full") return value;
  const rest = path.slice(prefix.length);
  if (rest === "") return value === "" ? "/" : value;
  // The rest begins with a slash, or is the whole path under the empty prefix.
  const replaced = (value.endsWith("/") ? value.slice(0, -1) : value) + rest;
  return replaced === "" ? "/" : replaced;
}

/** What a redirect takes from the request and its port, where it does not say otherwise. */
export type Redirected = {
  /** Path and query, with the redirect's own path in it. */
  readonly target: string;
  /** As it was sent: the name alone is taken from it. */
  readonly authority: string;
  /** Of the Service. */
  readonly port: number;
};

/**
 * The value of `location`. Without a port in the redirect it is that of its scheme, or without a scheme that of the Service; the usual
 * port of a scheme is not written (gateway-api:apis/v1/httproute_types.go, HTTPRequestRedirectFilter.port).
 */
export function locationOf(
  redirect: Omit<Redirect, "path" | "status">,
  { target, authority, port }: Redirected,
): string {
  const scheme = redirect.scheme ?? "http";
  const usual = scheme === "http" ? 80 : 443;
  const to = redirect.port ?? (redirect.scheme === null ? port : usual);
  const host = redirect.hostname ?? hostOf(authority);
  return `${scheme}://${host}${to === usual ? "" : `:${to}`}${target}`;
}

function hostOf(authority: string): string {
  return authority.replace(/:[0-9]*$/, "");
}
