// main thread · which documents of a text can be others than in the text before it, by comparing the two. Pure.

/** The texts are the same before `begin`, and behind `end` in the new text and `endBefore` in the text before. All three begin a document. */
export type ChangedPart = {
  readonly begin: number;
  readonly end: number;
  readonly endBefore: number;
  /** The line of `begin`, 1-based. */
  readonly line: number;
  /** The line of `end` in both texts; null: `end` is the end, where all that is behind `begin` counts as changed. */
  readonly endLine: number | null;
};

/** What lies behind has kept its lines, too: positions are part of what a document says. */
export function changedPart(before: string, after: string): ChangedPart {
  const alike = longestWhere(Math.min(before.length, after.length), (from, to) => {
    return before.slice(from, to) === after.slice(from, to);
  });
  const [lastBefore, last] = [before.length, after.length];
  const alikeBehind = longestWhere(Math.min(lastBefore, last) - alike, (from, to) => {
    return before.slice(lastBefore - to, lastBefore - from) === after.slice(last - to, last - from);
  });
  const begin = lastDocument(after, alike);
  const line = 1 + lineFeeds(after, 0, begin);
  const end = nextDocument(after, last - alikeBehind);
  const endBefore = end - last + lastBefore;
  const lines = lineFeeds(after, begin, end);
  if (end === last || lineFeeds(before, begin, endBefore) !== lines)
    return { begin, end: last, endBefore: lastBefore, line, endLine: null };
  return { begin, end, endBefore, line, endLine: line + lines };
}

/** The greatest length up to `most` over which the texts are alike. `areAlike` compares from a length to a greater length. */
function longestWhere(most: number, areAlike: (from: number, to: number) => boolean): number {
  let [known, beyond] = [0, most + 1];
  while (known + 1 < beyond) {
    const next = known === 0 && beyond > most ? most : (known + beyond) >> 1;
    if (areAlike(known, next)) known = next;
    else beyond = next;
  }
  return known;
}

const SEPARATOR = "\n---";

/** Whether the separator at this place is whole: more dashes or letters behind it make it a text of the document. */
function isSeparator(text: string, at: number): boolean {
  const behind = text[at + SEPARATOR.length];
  return behind === undefined || behind === "\n" || behind === " " || behind === "\t" || behind === "\r";
}

/** Where the last document begins whose separator ends before `limit`. */
function lastDocument(text: string, limit: number): number {
  // The character behind the separator says so.
  for (let at = limit - SEPARATOR.length - 1; at >= 0; at -= 1) {
    at = text.lastIndexOf(SEPARATOR, at);
    if (at === -1) return 0;
    if (isSeparator(text, at)) return at + 1;
  }
  return 0;
}

/** Where the first document begins whose separator lies behind `from`. The end, if there is none. */
function nextDocument(text: string, from: number): number {
  for (let at = from; ; at += 1) {
    at = text.indexOf(SEPARATOR, at);
    if (at === -1) return text.length;
    if (isSeparator(text, at)) return at + 1;
  }
}

function lineFeeds(text: string, from: number, to: number): number {
  let count = 0;
  for (let at = text.indexOf("\n", from); at !== -1 && at < to; at = text.indexOf("\n", at + 1)) count += 1;
  return count;
}
