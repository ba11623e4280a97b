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
