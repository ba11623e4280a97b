// any thread · texts of which a request must show one for a rule to hold, so that rules can be looked up by what a request shows. Pure.
import { canonicalEscapes, decodedPath } from "../l7/canonical.ts";
import type { Condition, Operation, PathMatch, Rule, StringMatch } from "../mesh/policies.ts";
import { headerOf, isReadable } from "./l4-view.ts";
import { canonicalHostMatch } from "./request-checks.ts";
import { sentForms } from "./sent-values.ts";

/** Deeper paths are known by their first segments, so that a request looks up only so many texts. */
const MOST_SEGMENTS = 4;
/** Lengths of beginnings and ends, of which the longest that is not longer than the text is taken. */
const endLengths = [32, 16, 8, 4, 2, 1] as const;
/** Of a long value of a header so many characters at each end, and its length, are its key. */
const VALUE_ENDS = 64;

/**
 * What a request is looked up by. "path": its first whole segments. "pathEnd", "hostEnd": its last characters. "header", "headerBegin",
 * "headerEnd": the name of a header, and its value as a whole or the first or last characters of it.
 */
export const keyKinds = ["path", "host", "pathEnd", "hostEnd", "header", "headerBegin", "headerEnd"] as const;
export type RequestKeyKind = (typeof keyKinds)[number];

/** null: the rule can hold for requests that show none of any such list. */
export type RequestKeys = Readonly<Record<RequestKeyKind, readonly string[] | null>>;

/** Keys under which request-index.ts files the rule: a request can meet the rule only if it has some key of each list that is not null. */
export function requestKeys({ operations, when }: Rule): RequestKeys {
  const header = (keyOf: HeaderKeyOf) => headerKeys(when, keyOf);
  const pathsOf = ({ paths }: Operation) => (paths.every(isReadable) ? paths : []);
  const path = (keyOf: KeyOf) => keysOf(operations, pathsOf, pathForms, keyOf);
  const host = (keyOf: KeyOf) => keysOf(operations, ({ hosts }) => hosts.map(canonicalHostMatch), hostForms, keyOf);
  return {
    path: path(segmentsOfMatch),
    pathEnd: path(endOfMatch),
    host: host((match) => (match.kind === "exact" ? match.value : null)),
    hostEnd: host(endOfMatch),
    header: header((name, match) => (match.kind === "exact" ? headerKey(name, match.value) : null)),
    headerBegin: header((name, match) => {
      const begin = match.kind === "exact" || match.kind === "prefix" ? match.value : "";
      const length = longestOf(begin);
      return length === undefined ? null : headerPartKey(name, begin.slice(0, length));
    }),
    headerEnd: header((name, match) => {
      const end = endOfMatch(match, asIs);
      return end === null ? null : headerPartKey(name, end);
    }),
  };
}

type HeaderKeyOf = (name: string, match: StringMatch) => string | null;

/** Of the first condition on a header whose values all have a key: every condition must hold, so each says enough of the rule. */
function headerKeys(conditions: readonly Condition[], keyOf: HeaderKeyOf): readonly string[] | null {
  for (const condition of conditions) {
    const name = headerOf(condition);
    // A host is compared in several spellings (`headerCheck`).
    if (name === undefined || name === "host" || condition.strings.length === 0) continue;
    const keys = condition.strings.flatMap((match) => sentForms(name, match)).map((match) => keyOf(name, match));
    if (keys.every((key) => key !== null)) return [...new Set(keys)];
  }
  return null;
}

/** Of a whole value. Values with the same key need not be the same. */
export function headerKey(name: string, value: string): string {
  const text = value.length <= 2 * VALUE_ENDS ? value : `${value.slice(0, VALUE_ENDS)}${value.slice(-VALUE_ENDS)}`;
  return `${name}:${value.length}:${text}`;
}

/** The key of a beginning or an end of a header's value. */
export function headerPartKey(name: string, part: string): string {
  return `${name}:${part}`;
}

/** The header's name in a key; no name has a colon (RFC 9110 section 5.6.2). */
export function headerNameIn(key: string): string {
  return key.slice(0, key.indexOf(":"));
}

type Form = (text: string) => string;
type KeyOf = (match: PathMatch, form: Form) => string | null;

const asIs: Form = (text) => text;
/** Paths are compared in both forms (`pathCheck`), and looked up by both. */
const pathForms: readonly Form[] = [canonicalEscapes, decodedPath];
const hostForms: readonly Form[] = [asIs];

/** An operation without the list, or a match without a key, takes what has no key. */
function keysOf(
  operations: readonly Operation[],
  listOf: (operation: Operation) => readonly PathMatch[],
  forms: readonly Form[],
  keyOf: KeyOf,
): readonly string[] | null {
  if (operations.length === 0) return null;
  const keys = new Set<string>();
  for (const operation of operations) {
    const list = listOf(operation);
    if (list.length === 0) return null;
    for (const match of list)
      for (const form of forms) {
        const key = keyOf(match, form);
        if (key === null) return null;
        keys.add(key);
      }
  }
  return [...keys];
}

/** Calls `take` with `/a`, `/a/b` and so on, the whole path last, as far as segments are looked at. @returns how many there were */
export function eachBeginning(path: string, take: (beginning: string, segments: number) => void): number {
  let end = 0;
  for (let segments = 1; segments <= MOST_SEGMENTS; segments += 1) {
    end = path.indexOf("/", end + 1);
    take(end < 0 ? path : path.slice(0, end), segments);
    if (end < 0) return segments;
  }
  return MOST_SEGMENTS;
}

/** How many whole segments a beginning of a path has, at most MOST_SEGMENTS. */
export function segmentsOf(beginning: string): number {
  return eachBeginning(beginning, () => undefined);
}

/** The first whole segments that every path has which the match takes. */
function segmentsOfMatch(match: PathMatch, form: Form): string | null {
  if (match.kind === "presence" || match.kind === "suffix") return null;
  const value = form(match.value);
  if (match.kind === "exact") return lastBeginning(value);
  // What is behind the last slash before an operator or a star is no whole segment.
  const open = match.kind === "template" ? value.indexOf("{") : value.length;
  const whole = value.lastIndexOf("/", open - 1);
  return whole <= 0 ? null : lastBeginning(value.slice(0, whole));
}

function lastBeginning(path: string): string {
  let last = path;
  eachBeginning(path, (beginning) => {
    last = beginning;
  });
  return last;
}

function endOfMatch(match: PathMatch | StringMatch, form: Form): string | null {
  if (match.kind !== "exact" && match.kind !== "suffix") return null;
  const value = form(match.value);
  const length = longestOf(value);
  return length === undefined ? null : value.slice(-length);
}

function longestOf(text: string): number | undefined {
  return endLengths.find((known) => known <= text.length);
}
