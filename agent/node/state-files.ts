// main thread · files of the run directory and files that outlive a reboot, at the places of this version.
import { cpSync, existsSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Earlier versions kept the last good configuration in the run directory: it is copied once, as the agent's user. A copy that
 * fails is reported, and the agent starts without it.
 */
export function adoptLastGood(
  { runDir, stateDir }: { readonly runDir: string; readonly stateDir: string },
  warn: (message: string) => void,
): void {
  const [index, texts] = ["last-good.json", "last-good"];
  if (existsSync(join(stateDir, index)) || !existsSync(join(runDir, index))) return;
  try {
    // The index last: it is believed only with the texts that it names.
    if (existsSync(join(runDir, texts))) cpSync(join(runDir, texts), join(stateDir, texts), { recursive: true });
    cpSync(join(runDir, index), join(stateDir, index));
  } catch (error) {
    warn(`the last good configuration of an earlier version could not be taken over: ${String(error)}`);
  }
}

/** The process id of the agent that holds the node, in one step: a reader finds the former agent's or this agent's. */
export function writePid({ runDir }: { readonly runDir: string }): void {
  const draft = join(runDir, `.agent.pid.${process.pid}`);
  writeFileSync(draft, `${process.pid}\n`);
  renameSync(draft, join(runDir, "agent.pid"));
}
