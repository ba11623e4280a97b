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
  const query = target.indexOf("?");
  const path = query < 0 ? target : target.slice(0, query);
  return { method, path: canonicalPath(path), host: canonicalHost(authority), header };
}
