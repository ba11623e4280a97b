// 9 · any thread · the head of a request as facts for the evaluator. Pure.
import type { ReadHeader, RequestFacts } from "../mesh/facts.ts";
import type { HeadWords, SentWords } from "../mesh/head-words.ts";
import { hostOfWords, pathOf, pathOfWords, wordsOf } from "./words-meaning.ts";

export type RequestHead = SentWords & {
  /** Of these words, or of others, which then count for nothing; absent: nobody has read them before. */
  readonly words?: HeadWords | undefined;
  /** Values without white space around them. */
  readonly header: ReadHeader;
};

/** What rules may look at: path and host in canonical form (canonical.ts), the method as it was sent, each field read once. */
export function requestFacts(head: RequestHead): RequestFacts {
  const words = wordsOf(head);
  return { method: words.method, path: pathOfWords(words), host: hostOfWords(words), header: onceEach(head.header) };
}

/**
 * Each field is looked for once, however many rules ask for it: a caller may send long fields, a look copies them, and policies may compare
 * a field thousands of times.
 */
function onceEach(header: ReadHeader): ReadHeader {
  let known: Map<string, readonly string[]> | null = null;
  let alike: Map<string, readonly string[]> | null = null;
  return (name, spelled) => {
    const before = (spelled === undefined ? known : alike)?.get(name);
    if (before !== undefined) return before;
    const sent = header(name, spelled);
    if (spelled === undefined) {
      known ??= new Map();
      known.set(name, sent);
    } else {
      alike ??= new Map();
      alike.set(name, sent);
    }
    return sent;
  };
}

/** What is taken out of the request is not read either: rules judge what the application gets. */
export const withoutProxyHeaders =
  (header: ReadHeader): ReadHeader =>
  (name, spelled) =>
    isProxyHeader(name) ? [] : header(name, spelled);

/** `name` in small letters. Each sign counts as `-`, as in `native/engine/http/http1_write.cc`. */
const isProxyHeader = (name: string): boolean =>
  /^x[^a-z0-9](?:envoy[^a-z0-9]|forwarded[^a-z0-9]client[^a-z0-9]cert$)/.test(name);

/** What the rules have read, and what the application has to read. Empty: it is what was sent. */
export function canonicalTarget(target: string, { path }: Pick<RequestFacts, "path">): string {
  const sent = pathOf(target);
  return sent === path.text || !sent.startsWith("/") ? "" : path.text + target.slice(sent.length);
}
