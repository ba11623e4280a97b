// test peers · a test file whose tests pass, and whose process does not end (run-file.test.ts).
import { createServer } from "node:net";
import { test } from "node:test";

test("it passes", () => {
  createServer().listen(0, "127.0.0.1");
});
