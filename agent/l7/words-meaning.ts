// 18 · any thread · what the words of a request's head mean, worked out once for each object of them. Pure.
import type { RequestText } from "../mesh/facts.ts";
import { HeadWords, type SentWords } from "../mesh/head-words.ts";
import { canonicalHost, canonicalPath } from "./canonical.ts";

/** Of a head. What it brings counts where it is of these very words: where a target or an authority is written anew, it is of the old. */
export function wordsOf(head: SentWords & { readonly words?: HeadWords | undefined }): HeadWords {
  const { words, method, target, authority } = head;
  const isSame = words?.target === target && words.authority === authority && words.method === method;
  return isSame ? words : new HeadWords(head);
}

export function pathOfWords(words: HeadWords): RequestText {
  words.path ??= canonicalPath(pathOf(words.target));
  return words.path;
}

export function hostOfWords(words: HeadWords): RequestText {
  words.host ??= canonicalHost(words.authority);
  return words.host;
}

/** Without its query. */
export function pathOf(target: string): string {
  const query = target.indexOf("?");
  return query < 0 ? target : target.slice(0, query);
}
