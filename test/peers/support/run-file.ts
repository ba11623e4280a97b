// test peers · runs the test file of a part in a process of its own, which ends in any case.
import { run } from "node:test";

const endsInTime = new URL("../../support/ends-in-time.ts", import.meta.url).href;

/**
 * The events of its tests, as `node:test` reports them. `deadlineMs` is that of the tests. A file may hold what keeps its process from
 * ending behind them, so the process has `toEndMs` more, and is ended as a failure then.
 */
export function runFile(
  file: string,
  { deadlineMs, toEndMs }: { readonly deadlineMs: number; readonly toEndMs: number },
): ReturnType<typeof run> {
  process.env.ORLOP_TEST_FILE_S = String((deadlineMs + toEndMs) / 1_000);
  return run({ files: [file], concurrency: 1, timeout: deadlineMs, execArgv: [`--import=${endsInTime}`] });
}
