// tests · what the parts of a node are built on in tests: a log that keeps its lines, a folder that goes with its test, and waiting by turns.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { LogFields, LogRoom } from "../observe/log.ts";

export { untilByTurns as until } from "../../test/support/until.ts";

/** Lines as `<room> <level> <message>`, behind it the error, if any. */
export function fakeLog() {
  const lines: string[] = [];
  const room = (name: LogRoom) => {
    const write =
      (level: string) =>
      (message: string, fields: LogFields = {}): void =>
        void lines.push(`${name} ${level} ${message}${"error" in fields ? `: ${fields.error}` : ""}`);
    return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
  };
  return { lines, room };
}

export function scratch(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "orlop-node-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}
