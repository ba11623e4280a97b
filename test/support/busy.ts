// test support · a busy machine: processes that use all the processor time that they get.
import { type ChildProcess, spawn } from "node:child_process";

/** Nobody's test takes longer; a test that dies leaves nothing behind for longer. */
const LONGEST_SECONDS = 1_800;

/** Starts `count` busy processes. The result ends them. */
export function startBusy(count: number): () => void {
  const processes: ChildProcess[] = Array.from({ length: count }, () =>
    spawn("timeout", [String(LONGEST_SECONDS), "sh", "-c", "while :; do :; done"], { stdio: "ignore" }),
  );
  return () => {
    // `timeout` passes it on to its child.
    for (const child of processes) child.kill("SIGTERM");
  };
}
