// Expressions by hand: what each form takes, what is refused and where, and that a text costs a look-up for each character.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Automaton, automatonOf, MOST_CELLS, MOST_EFFORT } from "./expression.ts";

function made(expression: string): Automaton {
  const automaton = automatonOf(expression);
  if ("what" in automaton) assert.fail(`${expression}: ${automaton.what} at ${automaton.at}`);
  return automaton;
}

const forms: readonly (readonly [expression: string, taken: readonly string[], left: readonly string[]])[] = [
  ["", [""], ["a"]],
  ["abc", ["abc"], ["ab", "abcd", "xabc"]],
  ["a|bc|", ["a", "bc", ""], ["ab"]],
  ["a*b+c?", ["b", "aabbc"], ["a", "ac", "bcc"]],
  ["a{2}b{1,}c{0,2}", ["aab", "aabbcc"], ["ab", "aabccc"]],
  ["a*?b+?c??d{1,2}?", ["bd", "abcdd"], ["bddd"]],
  ["(?:a*)*b", ["b", "aab"], ["a"]],
  [".", ["a", "\xe9", "\u20ac", "\r"], ["", "\n", "ab"]],
  ["(?s).", ["\n"], [""]],
  ["(?i)a(?-i)b", ["ab", "Ab"], ["aB"]],
  ["(?i:a)b|(?i:c)", ["Ab", "C"], ["aB"]],
  ["(?i)[^a-c]", ["d"], ["a", "B"]],
  ["(?P<x>a)(?<y>b)(c)", ["abc"], ["ab"]],
  ["[]a-c^-]+", ["]", "abc", "^-"], ["d", "["]],
  ["[^]a]", ["b", "\n", "\xe9"], ["]", "a"]],
  ["[\\d\\-x\\]]+", ["0-9x]"], ["a"]],
  ["[[:alpha:][:^ascii:]_]", ["a", "Z", "\xe9", "_"], ["1", "["]],
  ["[:alpha:]", ["a", ":", "l"], ["b"]],
  ["\\d\\D\\s\\S\\w\\W", ["0x a_-"], ["00 a_-"]],
  ["\\s", [" ", "\t", "\f"], ["\v", "\xa0"]],
  ["\\.\\*\\x41\\x{7e}\\t\\/", [".*A~\t/"], ["xxA~\t/"]],
  ["\\Qa.*\\E+b", ["a.*b", "a.**b"], ["a.b", "a.*a.*b"]],
  ["\\Qa.", ["a."], ["ab"]],
  ["^a$|\\Ab\\z", ["a", "b"], ["a\n", ""]],
  ["a^b|a$b", [], ["ab", "a", "b"]],
  ["(?m)a$\n^b".replace("\n", "\\n"), ["a\nb"], ["ab", "a\n"]],
  ["\\bab\\b.*", ["ab", "ab c"], ["abc"]],
  ["a\\Bb\\b", ["ab"], ["a"]],
  ["\\B", [""], ["a"]],
  ["\\b", [], ["", "a"]],
  ["a]}", ["a]}"], ["a"]],
];

for (const [expression, taken, left] of forms)
  test(`${JSON.stringify(expression)} takes whole texts alone`, () => {
    const { takes } = made(expression);
    for (const text of taken) assert.equal(takes(text), true, `takes ${JSON.stringify(text)}`);
    for (const text of left) assert.equal(takes(text), false, `leaves ${JSON.stringify(text)}`);
  });

const refused: readonly (readonly [expression: string, at: number, what: RegExp])[] = [
  ["a\\1", 1, /\\1 is not honoured/],
  ["\\pL", 0, /\\p is not honoured/],
  ["\\C", 0, /\\C/],
  ["\\", 0, /not honoured/],
  ["a(?=b)", 1, /\(\? with something/],
  ["a(?<!b)", 1, /\(\? with something/],
  ["(?)", 0, /says nothing/],
  ["(?P<a>b)(?P<a>c)", 8, /name a twice/],
  ["(a", 0, /\( without its \)/],
  ["a)", 1, /\) without its \(/],
  ["[a", 0, /\[ without its \]/],
  ["[b-a]", 1, /range/],
  ["[a-\\d]", 3, /\\d is not honoured/],
  ["[[:foo:]]", 1, /no class/],
  ["a|*", 2, /repeats nothing/],
  ["a{", 1, /repeats nothing/],
  ["a{02}", 1, /repeats nothing/],
  ["a**", 2, /repetition of a repetition/],
  ["a{2}{3}", 4, /repetition of a repetition/],
  ["a{1001}", 1, /more than 1000/],
  ["a{3,2}", 1, /ends before/],
  ["(a{40}){40}", 0, /repetitions of more than 1000/],
  ["\\xff", 0, /beyond ASCII/],
  ["a\u00e9", 1, /printable ASCII/],
  ["a\tb", 1, /printable ASCII/],
  ["a".repeat(1_025), 1_024, /more than 1024/],
  ["(".repeat(51) + ")".repeat(51), 50, /more than 50 groups/],
  [".*a.{20}", 0, /larger automaton/],
  ["(?:(?:a?){30}){30}", 0, /larger automaton/],
  ["(?:(?:(){10}){10}){10}".repeat(30), 0, /larger automaton/],
];

for (const [expression, at, what] of refused)
  test(`${JSON.stringify(expression.slice(0, 40))} is refused at ${at}`, () => {
    const problem = automatonOf(expression);
    assert.ok("what" in problem, "it was made");
    assert.match(problem.what, what);
    assert.equal(problem.at, at);
  });

/** Says how often it was read. */
class Counted {
  readonly #text: string;
  readonly length: number;
  reads = 0;

  constructor(text: string) {
    this.#text = text;
    this.length = text.length;
  }

  charCodeAt(at: number): number {
    this.reads += 1;
    return this.#text.charCodeAt(at);
  }
}

test("a text is read once, from its beginning, by expressions on which others take exponential time", () => {
  const hostile = ["(a*)*b", "(a|a)*b", "(a|aa)+$", "(.*a){8}", "(?:(?:a?){8})a{8}", "([a-zA-Z]+)*b", "(\\w+\\s?)*b"];
  for (const expression of hostile) {
    const { takes } = made(expression);
    for (const length of [10, 1_000, 60_000]) {
      for (const end of ["", "!", "b"]) {
        const text = new Counted("a".repeat(length) + end);
        takes(text);
        assert.ok(text.reads <= text.length, `${expression}: ${text.reads} reads of ${text.length} characters`);
      }
    }
  }
  const text = new Counted("x".repeat(60_000));
  assert.equal(made("/a.*").takes(text), false);
  assert.equal(text.reads, 1, "what can take nothing any more is not read on");
});

test("what a table takes is bounded", () => {
  const usual = [
    "[a-z]([-a-z0-9]{0,61}[a-z0-9])?",
    "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "/api/v[0-9]+/(users|orders)/[^/]+(/.*)?",
    ".{0,1000}",
    "(?i).*(bot|crawler|spider).*",
    ".*\\bfoo\\b.*",
  ];
  for (const expression of usual) {
    const { cells, effort } = made(expression);
    assert.ok(cells <= MOST_CELLS && effort <= MOST_EFFORT, `${expression}: ${cells} cells, ${effort} steps`);
  }
});
