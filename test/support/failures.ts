// tests · a reporter for `node --test`: what failed and why, and nothing else. `.ci/test` prints it once more when all parts have run,
// since the last lines of a long log are what everybody sees.
import { resolve } from "node:path";
import type { TestEvent } from "node:test/reporters";
import { inspect } from "node:util";

/** Of each failure: what a model says first is what went wrong, and last what the node's programs said; its trace is in between. */
const FIRST = 40;
const LAST = 60;
/** Of a file whose process failed although no test says why: so many of the last lines that the process wrote. */
const WRITTEN = 30;

export default async function* failures(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const written = new Map<string, string[]>();
  // Node may hand over what a process wrote after the news that it ended, so these are printed last.
  const ended: { readonly file: string; readonly name: string; readonly how: string }[] = [];
  for await (const { type, data } of events) {
    if (type === "test:stderr" || type === "test:stdout" || type === "test:diagnostic") {
      // A diagnostic is where Node says what was thrown after the last test. What a file writes comes under the name that the file has on
      // the command line, and a failure under its whole path.
      if (data.file !== undefined) keep(written, resolve(data.file), data.message);
      continue;
    }
    if (type !== "test:fail") continue;
    const error: unknown = data.details.error;
    if (error instanceof Error && "failureType" in error && error.failureType === "subtestsFailed") continue;
    const { file = "", name } = data;
    const how = endOfProcess(error);
    if (how === undefined) yield failure(file, name, described(error).split("\n"));
    else ended.push({ file, name, how });
  }
  for (const { file, name, how } of ended) yield failure(file, name, [how, ...(written.get(resolve(file)) ?? [])]);
}

function failure(file: string, name: string, lines: readonly string[]): string {
  const isLong = lines.length > FIRST + LAST;
  const why = isLong ? [...lines.slice(0, FIRST), "[…]", ...lines.slice(-LAST)] : lines;
  return `✖ ${file} › ${name}\n${why.map((line) => `  ${line.slice(0, 300)}`).join("\n")}\n`;
}

function keep(written: Map<string, string[]>, file: string, message: string): void {
  const lines = [...(written.get(file) ?? []), ...message.replace(/\n$/, "").split("\n")];
  written.set(file, lines.slice(-WRITTEN));
}

/** How the process of a file ended; undefined: the error is not about a process. */
function endOfProcess(error: unknown): string | undefined {
  if (!(error instanceof Error && "exitCode" in error && "signal" in error)) return undefined;
  const how = error.signal === null ? `exit code ${error.exitCode}` : `signal ${error.signal}`;
  return `the process of this file ended with ${how}; the last that it wrote:`;
}

/**
 * A test file's process sends what its tests threw. What cannot be cloned (an assertion about a function or a socket) arrives as an
 * object that only `inspect` can read, and a reporter that throws ends the whole run without a word about the test.
 */
function described(error: unknown): string {
  const thrown = error instanceof Error ? (error.cause ?? error) : error;
  return thrown instanceof Error && thrown.message !== "" ? `${thrown.name}: ${thrown.message}` : inspect(thrown);
}
