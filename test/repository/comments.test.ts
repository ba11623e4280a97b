// Comments are plain English and plain text: words that hide who acts are refused, and so are banners, last lines of a single
// word, and thread tags that are not in the list of CONTRIBUTING.md. `make check` runs this.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Fault, holdToAllowance } from "./allowances.ts";
import { type Comment, commentsOf, readSource, sourceFiles } from "./comments.ts";

const commented = sourceFiles().map((file) => {
  const text = readSource(file);
  return { file, text, comments: commentsOf(file, text) };
});

function faultsOf(rule: (comment: Comment) => readonly string[]): Fault[] {
  return commented.flatMap(({ file, comments }) =>
    comments.flatMap((comment) =>
      rule(comment).map((what) => ({
        key: file.includes("/") ? file : `./${file}`,
        what: `${file}:${comment.line} ${what}`,
      })),
    ),
  );
}

/** The number counts where it takes the place of a noun: at the end of a clause, and before the words below. */
const refusedWords = [
  /\b(?:stands|stood|told|whoever)\b/gi,
  /\bone(?=\s*(?:[.,;:!?)\]"”»]|[–—]|$))/gi,
  /\bone\s+(?:of|that|who|which)\b/gi,
];

test("comments name who acts: no stands, stood, told, whoever, and no `one` for a noun", () => {
  const faults = faultsOf(({ lines }) => {
    const text = lines.join(" ");
    return refusedWords
      .flatMap((words) => [...text.matchAll(words)])
      .map(({ 0: word, index }) => {
        return `"${word}" in "…${text.slice(Math.max(0, index - 30), index + word.length + 10)}…"`;
      });
  });
  holdToAllowance("refused words in comments", faults);
});

test("no banners: a comment has words and no rows of signs", () => {
  holdToAllowance(
    "banners in comments",
    faultsOf(({ lines }) => lines.filter((line) => /[─═━]{3}|[=*#~_]{4}|-{3}/.test(line)).map((line) => `"${line}"`)),
  );
});

test("no comment ends with a line of one word that the line before could have taken down with it", () => {
  const faults = faultsOf(({ lines }) => {
    const words = lines.filter((line) => line !== "");
    const last = words.at(-1) ?? "";
    const before = words.at(-2) ?? "";
    return before.length > 60 && last.length < 20 && !/\s/.test(last)
      ? [`"… ${before.split(" ").at(-1)} / ${last}"`]
      : [];
  });
  holdToAllowance("orphan last lines", faults);
});

test("the first line of every file of agent/ and native/ has one of seven thread tags", () => {
  const page = readSource("CONTRIBUTING.md");
  const tags = [...page.matchAll(/^\| `([^`]+) ·` \|/gm)].map(([, tag = ""]) => tag);
  assert.equal(tags.length, 7, "CONTRIBUTING.md lists seven tags");
  const form = new RegExp(`^// (?:\\d+(?:, \\d+)*(?: again)? · )?(?:${tags.join("|")}) · \\S`);
  const wrong = commented
    .filter(({ file }) => /^(agent\/.*\.ts|native\/.*\.(cc|h))$/.test(file) && !/\.(test|fake)\.ts$/.test(file))
    .filter(({ text }) => !form.test(text.replace(/^#!.*\n/, "").split("\n")[0] ?? ""))
    .map(({ file }) => file);
  assert.deepEqual(wrong, []);
});
