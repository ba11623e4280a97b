// What comments and pages point to exists: files of this repository by name, headings by anchor, and the codes of failures by a
// row of docs/reference/failures.md. `make check` runs this.
import assert from "node:assert/strict";
import { basename } from "node:path";
import { test } from "node:test";
import { type Fault, holdToAllowance } from "./allowances.ts";
import { commentsOf, readSource, sourceFiles } from "./comments.ts";

type Passage = { readonly file: string; readonly line: number; readonly text: string };

const files = sourceFiles();
const byName = new Map<string, string[]>();
for (const file of files) byName.set(basename(file), [...(byName.get(basename(file)) ?? []), file]);

/** Comments, and the whole text of Markdown: where people write about the code. */
const passages: readonly Passage[] = files.flatMap((file) => {
  const text = readSource(file);
  if (file.endsWith(".md")) return paragraphsOf(text).map((paragraph) => ({ file, ...paragraph }));
  return commentsOf(file, text).map(({ line, lines }) => ({ file, line, text: lines.join(" ") }));
});

/** Lines up to an empty line; a row of a table is a paragraph of its own. */
function paragraphsOf(text: string): { readonly line: number; readonly text: string }[] {
  const found: { line: number; text: string }[] = [];
  let open = false;
  for (const [index, line] of text.split("\n").entries()) {
    const last = found.at(-1);
    const goesOn = open && line !== "" && !line.startsWith("|");
    if (goesOn && last !== undefined) last.text += ` ${line}`;
    else if (line !== "") found.push({ line: index + 1, text: line });
    open = line !== "" && !line.startsWith("|");
  }
  return found;
}

const fault = ({ file, line }: Passage, what: string): Fault => ({
  key: file.includes("/") ? file : `./${file}`,
  what: `${file}:${line} ${what}`,
});

/** A name as people write it, the whole path or its end: `plan.ts`, `plan/plan.ts`, `agent/plan/plan.ts`. */
function fileOf(name: string): string | undefined {
  return byName.get(basename(name))?.find((file) => file === name || file.endsWith(`/${name}`));
}

/** What is no file of ours: headers of the system, files that a run writes, names in examples. */
const foreign =
  /^(?:bench\/results\/.*|(?:linux|net|sys|openssl|bpf)\/.*\.h|sysexits\.h|vmlinux\.h|(?:.*\/)?x(?:\.test)?\.ts)$/;
/** Not behind a colon: `istio/ztunnel:src/config.rs` names a file of another repository. Not inside an address or a glob. */
const fileName = /(?<![\w./:<@*-])(?:\.{1,2}\/)*((?:[\w@.-]+\/)*[\w.-]+\.(?:ts|cc|c|h|md))(?![\w/-]|\.\w)(#[\w-]+)?/g;

/** As GitHub makes it of a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");

function hasHeading(file: string, anchor: string): boolean {
  return [...readSource(file).matchAll(/^#+ (.+)$/gm)].some(([, heading = ""]) => anchorOf(heading) === anchor);
}

test("files that comments and pages name exist, with the heading that is named", () => {
  const faults = passages.flatMap((passage) =>
    [...passage.text.matchAll(fileName)].flatMap(([, name = "", anchor]) => {
      if (foreign.test(name)) return [];
      // A page is named by its whole path, so that a reader of a comment finds it; in Markdown the link does that.
      const file =
        name.endsWith(".md") && !passage.file.endsWith(".md") ? files.find((each) => each === name) : fileOf(name);
      if (file === undefined) return [fault(passage, `names ${name}, which is not here`)];
      if (anchor === undefined || hasHeading(file, anchor.slice(1))) return [];
      return [fault(passage, `names ${name}${anchor}, and there is no such heading`)];
    }),
  );
  holdToAllowance("dangling names of files", faults);
});

type Row = { readonly code: string; readonly tests: readonly string[] };

/** Rows of docs/reference/failures.md: a code, a sentence, and the tests that hold it. */
const failures: readonly Row[] = files.includes("docs/reference/failures.md")
  ? [...readSource("docs/reference/failures.md").matchAll(/^\| ([A-G]\d{1,2}) \|.*\|([^|]*)\|$/gm)].map(
      ([, code = "", tests = ""]) => ({ code, tests: [...tests.matchAll(/`([^`]+)`/g)].map(([, file = ""]) => file) }),
    )
  : [];
const isTest = (file: string): boolean => file.startsWith("test/") || file.endsWith(".test.ts");

test("codes of failures appear in tests, or beside the name of the page, and each is a row of it", () => {
  const known = new Set(failures.map(({ code }) => code));
  const titles = files
    .filter((file) => file.endsWith(".test.ts"))
    .flatMap((file): Passage[] => {
      const text = readSource(file);
      return [...text.matchAll(/\b(?:test|describe)\(\s*"([^"]*)"/g)].map(({ 1: title = "", index }) => ({
        file,
        line: text.slice(0, index).split("\n").length,
        text: title,
      }));
    });
  const faults = [...passages, ...titles]
    .filter(({ file }) => file !== "docs/reference/failures.md" && !file.startsWith("docs/codes/"))
    .flatMap((passage) =>
      [...passage.text.matchAll(/(?<![\w'-])([A-G]\d{1,2})(?![\w'-])|\bpromises? \d+/g)].flatMap(
        ({ 0: word, 1: code }) => {
          if (code === undefined) return [fault(passage, `"${word}": no page numbers promises`)];
          if (!isTest(passage.file) && !passage.text.includes("failures.md"))
            return [fault(passage, `"${word}": say it in words, or name docs/reference/failures.md`)];
          return known.has(code) ? [] : [fault(passage, `"${word}" is no row of docs/reference/failures.md`)];
        },
      ),
    );
  holdToAllowance("bare codes", faults);
});

test("each row of docs/reference/failures.md names tests that name it", () => {
  const wrong = failures.flatMap(({ code, tests }) => {
    if (tests.length === 0) return [`${code} names no test`];
    return tests.flatMap((file) => {
      if (!files.includes(file)) return [`${code}: ${file} is not here`];
      return new RegExp(`\\b${code}\\b`).test(readSource(file)) ? [] : [`${code}: ${file} does not name it`];
    });
  });
  assert.deepEqual(wrong, []);
});
