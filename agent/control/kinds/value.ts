// any thread · configuration values that remember where they were written, and the problems found in them. Plain data, no I/O.
import { positionText, type SourceRef } from "../../mesh/source-ref.ts";
import { quietLines, quotedText } from "../../mesh/terminal-text.ts";

/** What a file or an API says, before any schema has looked at it. */
export type Value = { readonly from: SourceRef } & (
  | { readonly type: "map"; readonly entries: ReadonlyMap<string, MapEntry> }
  | { readonly type: "list"; readonly items: readonly Value[] }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "number"; readonly value: number }
  | { readonly type: "boolean"; readonly value: boolean }
  | { readonly type: "null" }
);
/** `keyFrom` is the key's own position: an unknown field is reported there. */
export type MapEntry = { readonly keyFrom: SourceRef; readonly value: Value };

export type ProblemCode =
  | "ORL4101" // not YAML, or more of it than is read
  | "ORL4102" // unknown field or kind
  | "ORL4103" // wrong type, or missing
  | "ORL4104" // a value outside what the field may hold
  | "ORL4105" // fields or objects that contradict each other
  | "ORL4106" // known, but not honoured yet
  | "ORL4107" // the file cannot be read
  | "ORL4108"; // a draft that may take protection away waits until its file is still

/** One line each: what is wrong, why it matters, what to do about it. */
export type Problem = {
  readonly code: ProblemCode;
  readonly from: SourceRef;
  readonly what: string;
  readonly why: string;
  readonly fix: string;
};

/** Three lines: where and what, why, what to do. */
export function problemText(problem: Problem): string {
  return quietLines(
    `${positionText(problem.from)}: ${problem.what}  ${problem.code}\n  why: ${problem.why}\n  do:  ${problem.fix}`,
  );
}

/** Configuration that was refused as a whole. The only error the readers of configuration throw. */
export class ConfigError extends Error {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(problems.map(problemText).join("\n"));
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/**
 * What a source does with a mistake. "all": nothing of what was read with it counts; so a file or a directory is accepted. "object":
 * each object counts for itself, and a policy is read in its closed form; so an API server is accepted, in which others write too.
 */
export type Acceptance = "all" | "object";

/** Of more mistakes the first ones are reported. */
export const MAX_PROBLEMS = 100;

/** Collects what is wrong (refuses the whole, or closes the object) and what is not honoured (reported, refuses nothing). */
export class Report {
  readonly acceptance: Acceptance;
  readonly problems: Problem[] = [];
  readonly findings: Problem[] = [];

  constructor(acceptance: Acceptance = "all") {
    this.acceptance = acceptance;
  }

  error(problem: Problem): undefined {
    if (this.problems.length < MAX_PROBLEMS) this.problems.push(problem);
    return undefined;
  }

  unsupported(from: SourceRef, what: string, why: string, fix: string): void {
    this.findings.push({ code: "ORL4106", from, what, why, fix });
  }

  throwIfAny(): void {
    if (this.problems.length > 0) throw new ConfigError(this.problems);
  }
}

/** At most so many characters of foreign text are repeated in a message. */
const QUOTED_MAX = 80;

/** Foreign text as a message may show it: one line, no control bytes, not endless. */
export function quoted(text: string): string {
  return quotedText(text.length > QUOTED_MAX ? `${text.slice(0, QUOTED_MAX)}…` : text);
}

/** Reports fields or objects that contradict each other; undefined, so that a translation can return it. */
export function wrong(from: SourceRef, what: string, why: string, fix: string, report: Report): undefined {
  return report.error({ code: "ORL4105", from, what, why, fix });
}
