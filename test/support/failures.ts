// tests · a reporter for `node --test`: what failed and why, and nothing else. `.ci/test` prints it once more when all parts have run,
// since the last lines of a long log are what everybody sees.
import type { TestEvent } from "node:test/reporters";

/** Of each failure: a model prints the last lines of a node's log, which the full report has. */
const LINES = 60;

export default async function* failures(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const { type, data } of events) {
    if (type !== "test:fail") continue;
    const { error } = data.details;
    if ("failureType" in error && error.failureType === "subtestsFailed") continue;
    const why = String(error.cause ?? error).split("\n");
    yield `✖ ${data.file ?? ""} › ${data.name}\n${why
      .slice(0, LINES)
      .map((line) => `  ${line.slice(0, 300)}`)
      .join("\n")}\n`;
  }
}
