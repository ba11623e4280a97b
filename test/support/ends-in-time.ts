// tests · `node --test --import` this: ends the process of a test file that does not end by itself, and says what it still holds.
// Node bounds the tests of a file (--test-timeout), not its process: one socket that a test leaves open would hold the whole run.
import { after } from "node:test";

/** Of a file, in seconds; more than --test-timeout, so that the test that hangs is named first. */
const FILE_S = Number(process.env.ORLOP_TEST_FILE_S ?? 1_500);
/** Between the last test and the process's end, in seconds: a cluster is taken down in this time. */
const LAST_TEST_TO_END_S = 120;

if (process.env.NODE_TEST_CONTEXT !== undefined) {
  endAfter(FILE_S, `has not ended after ${FILE_S} s`);
  after(() => endAfter(LAST_TEST_TO_END_S, `has not ended ${LAST_TEST_TO_END_S} s after its last test`));
}

function endAfter(seconds: number, what: string): void {
  setTimeout(() => {
    console.error(`this test file ${what}; it holds: ${process.getActiveResourcesInfo()}`);
    process.exit(1);
  }, seconds * 1_000).unref();
}
