// 9 · any thread · the head of a request as facts for the evaluator. Pure.
import type { RequestFacts } from "../mesh/facts.ts";
import { canonicalHost, canonicalPath } from "./canonical.ts";

export type RequestHead = {
  readonly method: string;
  /** Path and query, such as `/a?b=c`; `*`. */
  readonly target: string;
  /** Host or :authority; empty: none was sent. */
  readonly authority: string;
  /** Values of the field of this lower-case name, in the order of arrival, without white space around them. */
  readonly header: RequestFacts["header"];
};

export function requestFacts({ method, target, authority, header }: RequestHead): RequestFacts {
  return { method, path: canonicalPath(pathOf(target)), host: canonicalHost(authority), header };
}

/** Without its query. */
export function pathOf(target: string): string {
  const query = target.indexOf("?");
  return query < 0 ? target : target.slice(0, query);
}

/** What is taken out of the request is not read either: rules judge what the application gets. */
export const withoutProxyHeaders =
  (header: RequestFacts["header"]): RequestFacts["header"] =>
  (name) =>
    isProxyHeader(name) ? [] : header(name);

/** `name` in small letters. `_` counts as `-`, as in `native/engine/http/http1_write.cc`. */
const isProxyHeader = (name: string): boolean => /^x[-_](?:envoy[-_]|forwarded[-_]client[-_]cert$)/.test(name);

/** What the rules have read, and what the application has to read. Empty: it is what was sent. */
export function canonicalTarget(target: string, { path }: Pick<RequestFacts, "path">): string {
  const sent = pathOf(target);
  return sent === path.text || !sent.startsWith("/") ? "" : path.text + target.slice(sent.length);
}
