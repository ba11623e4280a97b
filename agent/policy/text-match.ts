// 9 · any thread · Istio's matches of texts as tests, and as people write them. Pure.
import type { PathMatch, StringMatch } from "../mesh/policies.ts";

/** Longer lists of exact values are looked up instead of compared in turn. */
const SET_FROM = 4;

export type TextTest = (text: string) => boolean;

/** Any of `matches` on the text. */
export function anyOf(matches: readonly StringMatch[]): TextTest {
  const tests = matches.flatMap((match) => (match.kind === "exact" ? [] : [testOf(match)]));
  const exact = matches.flatMap((match) => (match.kind === "exact" ? [match.value] : []));
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

export function anyTest(tests: readonly TextTest[]): TextTest {
  const [first] = tests;
  if (first !== undefined && tests.length === 1) return first;
  return (text) => tests.some((test) => test(text));
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

/** For people: what a check asks for. */
export function wanted(values: readonly string[], not: boolean): string {
  return `${not ? "not " : ""}${values.join(" or ")}`;
}
