// 9 · any thread · Istio's matches of texts as tests, and as people write them. Pure.
import type { PathMatch, StringMatch } from "../mesh/policies.ts";

/** Longer lists of exact values are looked up instead of compared in turn. */
const SET_FROM = 4;
/** And longer lists of prefixes, or of suffixes. */
const SORTED_FROM = 16;

export type TextTest = (text: string) => boolean;

/** Any of `matches` on the text. */
export function anyOf(matches: readonly StringMatch[]): TextTest {
  const [prefixes, suffixes] = [valuesOf(matches, "prefix"), valuesOf(matches, "suffix")];
  const isSorted = {
    exact: true,
    presence: false,
    prefix: prefixes.length >= SORTED_FROM,
    suffix: suffixes.length >= SORTED_FROM,
  };
  const tests = matches.flatMap((match) => (isSorted[match.kind] ? [] : [testOf(match)]));
  if (isSorted.prefix) tests.push(anyPrefix(prefixes));
  if (isSorted.suffix) tests.push(anySuffix(suffixes));
  const exact = valuesOf(matches, "exact");
  const [only] = exact;
  if (only !== undefined && exact.length === 1 && tests.length === 0) return (text) => text === only;
  if (exact.length >= SET_FROM) {
    const set = new Set(exact);
    tests.unshift((text) => set.has(text));
  } else
    tests.unshift(
      ...exact.map(
        (value): TextTest =>
          (text) =>
            text === value,
      ),
    );
  return anyTest(tests);
}

function valuesOf(matches: readonly StringMatch[], kind: "exact" | "prefix" | "suffix"): readonly string[] {
  return matches.flatMap((match) => (match.kind === kind ? [match.value] : []));
}

export function anyTest(tests: readonly TextTest[]): TextTest {
  const [first] = tests;
  if (first !== undefined && tests.length === 1) return first;
  return (text) => tests.some((test) => test(text));
}

/**
 * Of prefixes without those that begin with another, the only candidate is the last in order that is not behind the text: whatever lies
 * between a prefix of a text and the text begins with that prefix, too.
 */
function anyPrefix(prefixes: readonly string[]): TextTest {
  const sorted: string[] = [];
  for (const prefix of prefixes.toSorted(inOrder)) {
    const last = sorted.at(-1);
    if (last === undefined || !prefix.startsWith(last)) sorted.push(prefix);
  }
  return (text) => {
    const candidate = sorted[lastUpTo(sorted, (prefix) => prefix <= text)];
    return candidate !== undefined && text.startsWith(candidate);
  };
}

/** The same from the end of the text. */
function anySuffix(suffixes: readonly string[]): TextTest {
  const longest = suffixes.reduce((most, { length }) => Math.max(most, length), 0);
  const reversed = anyPrefix(suffixes.map(backwards));
  return (text) => reversed(backwards(longest === 0 ? "" : text.slice(-longest)));
}

/** By code units, as the operators of the language compare. */
function inOrder(some: string, other: string): number {
  return some < other ? -1 : some > other ? 1 : 0;
}

function backwards(text: string): string {
  return text.split("").reverse().join("");
}

/** The last index in `sorted` for which `isUpTo` holds, which holds up to some index and no further; -1: for none. */
function lastUpTo(sorted: readonly string[], isUpTo: (value: string) => boolean): number {
  let [from, end] = [0, sorted.length];
  while (from < end) {
    const middle = (from + end) >>> 1;
    const value = sorted[middle];
    if (value !== undefined && isUpTo(value)) from = middle + 1;
    else end = middle;
  }
  return from - 1;
}

/**
 * Raw characters, as in Istio: `*` crosses segments (docs/reference/failures.md, row C15), so `…/ns/prod*` also takes `…/ns/prod-evil/…`.
 */
function testOf(match: StringMatch): TextTest {
  switch (match.kind) {
    case "exact":
      return (text) => text === match.value;
    case "prefix":
      return (text) => text.startsWith(match.value);
    case "suffix":
      return (text) => text.endsWith(match.value);
    case "presence":
      return (text) => text !== "";
  }
}

/** The match as its author wrote it. */
export function written(match: PathMatch): string {
  if (match.kind === "presence") return "*";
  return match.kind === "prefix" ? `${match.value}*` : match.kind === "suffix" ? `*${match.value}` : match.value;
}

/** So many values of a long list are shown: each refused request has this text in a line of the access log. */
const MOST_SHOWN = 32;

/** For people: what a check asks for. */
export function wanted(values: readonly string[], not: boolean): string {
  const others = values.length - MOST_SHOWN;
  const shown = others > 0 ? [...values.slice(0, MOST_SHOWN), `${others} others`] : values;
  return `${not ? "not " : ""}${shown.join(" or ")}`;
}
