// tests · a reporter for `node --test`: what failed and why, and nothing else. `.ci/test` prints it once more when all parts have run,
// since the last lines of a long log are what everybody sees.
import type { TestEvent } from "node:test/reporters";
import { inspect } from "node:util";

/** Of each failure: what a model says first is what went wrong, and last what the node's programs said; its trace is in between. */
const FIRST = 40;
const LAST = 60;

export default async function* failures(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const { type, data } of events) {
    if (type !== "test:fail") continue;
    const error: unknown = data.details.error;
    if (error instanceof Error && "failureType" in error && error.failureType === "subtestsFailed") continue;
    const lines = described(error).split("\n");
    const isLong = lines.length > FIRST + LAST;
    const why = isLong ? [...lines.slice(0, FIRST), "[…]", ...lines.slice(-LAST)] : lines;
    yield `✖ ${data.file ?? ""} › ${data.name}\n${why.map((line) => `  ${line.slice(0, 300)}`).join("\n")}\n`;
  }
}

/**
 * A test file's process sends what its tests threw. What cannot be cloned (an assertion about a function or a socket) arrives as an
 * object that only `inspect` can read, and a reporter that throws ends the whole run without a word about the test.
 */
function described(error: unknown): string {
  const thrown = error instanceof Error ? (error.cause ?? error) : error;
  return thrown instanceof Error && thrown.message !== "" ? `${thrown.name}: ${thrown.message}` : inspect(thrown);
}
