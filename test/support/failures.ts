// tests · a reporter for `node --test`: what failed and why, and nothing else. `.ci/test` prints it once more when all parts have run,
// since the last lines of a long log are what everybody sees.
import type { TestEvent } from "node:test/reporters";

/** Of each failure: what a model says first is what went wrong, and last what the node's programs said; its trace is in between. */
const FIRST = 40;
const LAST = 60;

export default async function* failures(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const { type, data } of events) {
    if (type !== "test:fail") continue;
    const { error } = data.details;
    if ("failureType" in error && error.failureType === "subtestsFailed") continue;
    const lines = String(error.cause ?? error).split("\n");
    const isLong = lines.length > FIRST + LAST;
    const why = isLong ? [...lines.slice(0, FIRST), "[…]", ...lines.slice(-LAST)] : lines;
    yield `✖ ${data.file ?? ""} › ${data.name}\n${why.map((line) => `  ${line.slice(0, 300)}`).join("\n")}\n`;
  }
}
