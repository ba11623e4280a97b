// test support · the comments of a source file, and what the lint of test/repository/comments.test.ts reads besides. Lexes just enough of
// each language to tell a comment from a string; it parses nothing.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout, with a slash at its end. */
export const root = fileURLToPath(new URL("../..", import.meta.url));

export type Comment = {
  /** Line of the first character, from 1. */
  readonly line: number;
  /** The lines without their marks (`//`, `*`, `#`) and without the space around them. */
  readonly lines: readonly string[];
};

type Mark = { readonly line: number; readonly column: number; readonly alone: boolean; readonly lines: string[] };

/** Every file that git tracks or would add, relative to the checkout, sorted. Files deleted in the work tree are left out. */
export function sourceFiles(): readonly string[] {
  const list = (...flags: string[]) =>
    execFileSync("git", ["ls-files", "-z", ...flags], { cwd: root, encoding: "utf8" })
      .split("\0")
      .filter(Boolean);
  const deleted = new Set(list("--deleted"));
  return [...new Set(list("--cached", "--others", "--exclude-standard"))]
    .filter((file) => !deleted.has(file) && !file.startsWith("test/fuzz/corpus/") && !file.startsWith("bench/results/"))
    .toSorted();
}

export function readSource(file: string): string {
  return readFileSync(join(root, file), "utf8");
}

type Language = "script" | "c" | "hash";

/** Undefined for files that have no comments or none of ours: Markdown, JSON, licences. */
function languageOf(file: string, text: string): Language | undefined {
  if (/\.(ts|js|mjs|jsonc)$/.test(file)) return "script";
  if (/\.(c|cc|h)$/.test(file)) return "c";
  if (/\.(sh|ya?ml|gypi?)$|(^|\/)(Makefile|Dockerfile[^/]*|\.gitignore|\.npmrc|\.clang-format)$/.test(file))
    return "hash";
  if (/^#!.*\b(ba)?sh\b/.test(text)) return "hash";
  return undefined;
}

/** The comments of a file. Line comments that follow each other in one column are one comment. */
export function commentsOf(file: string, text: string): readonly Comment[] {
  const language = languageOf(file, text);
  if (language === undefined) return [];
  const marks = language === "hash" ? hashMarks(text) : slashMarks(text, language);
  const comments: Mark[] = [];
  for (const mark of marks) {
    const last = comments.at(-1);
    const follows = last?.alone && mark.alone && last.column === mark.column;
    if (follows && last.line + last.lines.length === mark.line) last.lines.push(...mark.lines);
    else comments.push({ ...mark, lines: [...mark.lines] });
  }
  return comments;
}

function hashMarks(text: string): Mark[] {
  return text.split("\n").flatMap((line, index) => {
    const found = /(^|\s)#(?!!)(.*)$/.exec(line);
    if (!found) return [];
    const column = found.index + (found[1]?.length ?? 0);
    const alone = line.slice(0, column).trim() === "";
    // A hash behind code may lie inside quotes: an odd number of them before it says so.
    if (!alone && (line.slice(0, column).match(/["']/g)?.length ?? 0) % 2 === 1) return [];
    return [{ line: index + 1, column, alone, lines: [(found[2] ?? "").trim()] }];
  });
}

/** After these a slash begins a regular expression and no division. */
const beforePattern =
  /(?:^|[(,=:[!&|?{};+\-*%<>~^]|\b(?:return|typeof|case|in|of|do|else|void|delete|await|yield))\s*$/;

/** Position behind a quoted text that begins at `from`; a line that ends unquoted ends it, too. */
function skipQuoted(text: string, from: number, quote: string): number {
  let at = from + 1;
  while (at < text.length && text[at] !== quote && text[at] !== "\n") at += text[at] === "\\" ? 2 : 1;
  return at + 1;
}

function skipPattern(text: string, from: number): number {
  let inSet = false;
  for (let at = from + 1; at < text.length && text[at] !== "\n"; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === "[") inSet = true;
    else if (text[at] === "]") inSet = false;
    else if (text[at] === "/" && !inSet) return at + 1;
  }
  return from + 1;
}

function slashMarks(text: string, language: "script" | "c"): Mark[] {
  const marks: Mark[] = [];
  /** Depth of braces at which each open template literal goes on. */
  const templates: number[] = [];
  let braces = 0;
  let inTemplate = false;
  let at = text.startsWith("#!") ? text.indexOf("\n") : 0;
  let counted = 0;
  let line = 1;
  const add = (from: number, to: number, lines: string[]): number => {
    for (; counted < from; counted++) if (text[counted] === "\n") line++;
    const start = text.lastIndexOf("\n", from - 1) + 1;
    marks.push({ line, column: from - start, alone: text.slice(start, from).trim() === "", lines });
    return to;
  };
  while (at < text.length) {
    const character = text[at] ?? "";
    if (inTemplate) {
      if (character === "\\") at += 2;
      else if (character === "`") {
        inTemplate = false;
        at++;
      } else if (character === "$" && text[at + 1] === "{") {
        templates.push(braces++);
        inTemplate = false;
        at += 2;
      } else at++;
    } else if (text.startsWith("//", at)) {
      const newline = text.indexOf("\n", at);
      const end = newline < 0 ? text.length : newline;
      at = add(at, end, [
        text
          .slice(at + 2, end)
          .replace(/^\//, "")
          .trim(),
      ]);
    } else if (text.startsWith("/*", at)) {
      const close = text.indexOf("*/", at + 2);
      const end = close < 0 ? text.length : close;
      const lines = text.slice(at + 2, end).split("\n");
      at = add(
        at,
        end + 2,
        lines.map((each) => each.replace(/^\s*\*+/, "").trim()),
      );
    } else if (character === '"') at = skipQuoted(text, at, character);
    else if (character === "'" && !(language === "c" && /\w$/.test(text.slice(at - 1, at))))
      at = skipQuoted(text, at, "'");
    else if (language === "script" && character === "`") {
      inTemplate = true;
      at++;
    } else if (language === "script" && character === "{") {
      braces++;
      at++;
    } else if (language === "script" && character === "}") {
      braces--;
      if (templates.at(-1) === braces) {
        templates.pop();
        inTemplate = true;
      }
      at++;
    } else if (language === "script" && character === "/" && beforePattern.test(text.slice(Math.max(0, at - 40), at)))
      at = skipPattern(text, at);
    else at++;
  }
  return marks;
}
