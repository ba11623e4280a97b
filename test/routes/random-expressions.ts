// Random regular expressions in RE2's words and, where JavaScript has words for the same, in JavaScript's; and texts that they may take.
import type { Dice } from "../support/dice.ts";

/** null: JavaScript would mean something else, or has no words for it. */
export type Words = { readonly re2: string; readonly js: string | null };

const same = (text: string): Words => ({ re2: text, js: text });
const only = (re2: string): Words => ({ re2, js: null });
const literals = ["a", "a", "b", "b", "A", "0", "_", "-", " ", "/", "\\.", "\\n", "\\/", "\\x61", "Z"].map(same);
const classes = [
  ...["[ab]", "[a-c0]", "[^a]", "[^ab0]", "[_-]", "[\\d_]", "[^\\w]", "\\d", "\\D", "\\w", "\\W", "\\s", "."].map(same),
  { re2: "[[:alpha:]]", js: "[A-Za-z]" },
  { re2: "[^[:upper:][:digit:]]", js: "[^A-Z0-9]" },
  { re2: "[[:^space:]]", js: "\\S" },
  { re2: "[[:punct:]a]", js: "[!-/:-@\\[-`{-~a]" },
  { re2: "[]a]", js: "[\\]a]" },
  only("\\Qa.\\E"),
];
const assertions = [
  ...["^", "$", "\\b", "\\B"].map(same),
  { re2: "\\A", js: "(?-m:^)" },
  { re2: "\\z", js: "(?-m:$)" },
];
const counts = ["*", "+", "?", "*?", "+?", "??", "{0,2}", "{2}", "{1,}", "{1,3}?", "{0}"];
const openings = [
  ...["(", "(?:", "(?s:", "(?m:"].map(same),
  { re2: "(?P<NAME>", js: "(?:" },
  { re2: "(?U:", js: "(?:" },
  // V8 13.6 lets /^(?i:x|[^b])$/ take "B": its groups that fold cases are no oracle.
  ...["(?i:", "(?-i:", "(?im:", "(?s-i:", "(?i)("].map(only),
];

const joined = (parts: readonly Words[], between = ""): Words => ({
  re2: parts.map(({ re2 }) => re2).join(between),
  js: parts.some(({ js }) => js === null) ? null : parts.map(({ js }) => js).join(between),
});

export function randomExpression(dice: Dice): Words {
  let names = 0;
  const atom = (depth: number): Words => {
    const kind = dice.roll(depth > 0 ? 10 : 6);
    if (kind < 3) return dice.pick(literals);
    if (kind < 6) return dice.pick(classes);
    const { re2, js } = dice.pick(openings);
    names += 1;
    return joined([{ re2: re2.replace("NAME", `n${names}`), js }, choice(depth - 1), same(")")]);
  };
  const piece = (depth: number): Words => {
    if (dice.chance(8)) return dice.pick(assertions);
    const one = atom(depth);
    return dice.chance(30) ? joined([one, same(dice.pick(counts))]) : one;
  };
  const sequence = (depth: number): Words => joined(Array.from({ length: dice.roll(4) }, () => piece(depth)));
  const choice = (depth: number): Words =>
    joined(
      Array.from({ length: dice.chance(30) ? 2 : 1 }, () => sequence(depth)),
      "|",
    );
  return choice(3);
}

const characters = ["a", "a", "a", "b", "b", "c", "A", "B", "0", "_", "-", " ", "/", "\n", ".", "Z", "]"];

export const randomText = (dice: Dice): string =>
  Array.from({ length: dice.roll(dice.chance(50) ? 3 : 9) }, () => dice.pick(characters)).join("");
