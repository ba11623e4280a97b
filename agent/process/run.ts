// start-up · `orlop run` on a plain machine: starts keeper and agent as separate processes and keeps both running.
import { type ChildProcess, spawn } from "node:child_process";
import { handoverEnv } from "./handover.ts";
import { keepRunning } from "./keep-running.ts";
import { memoryEnvironment } from "./memory-environment.ts";

export type RunOptions = { readonly config: string; readonly main: string };

/** With these flags an attacker who took over the agent can do less with its runtime. */
export const agentFlags = [
  "--disallow-code-generation-from-strings",
  "--disable-sigusr1",
  "--unhandled-rejections=throw",
  "--max-semi-space-size=2",
  "--no-parallel-scavenge",
  // While a large mesh is read, most of what it makes stays. V8 learns that, and later makes what it reads of a change in the old generation.
  "--no-allocation-site-pretenuring",
  // collect-garbage.ts calls `gc`.
  "--expose-gc",
];
export const keeperFlags = ["--disable-sigusr1", "--unhandled-rejections=throw"];

/**
 * Runs until SIGINT or SIGTERM: the operator's stop is the only end at which the keeper releases the pods. SIGHUP replaces the
 * agent. The agent is stopped
 * first, so that it drains while the keeper still holds its listeners. Resolves to the keeper's exit status. Rejects when a
 * program could not be started.
 */
export async function run(options: RunOptions): Promise<number> {
  const start = (name: "keeper" | "agent", flags: readonly string[], more: readonly string[] = []): ChildProcess =>
    spawn(process.execPath, [...flags, options.main, name, "-c", options.config, ...more], {
      stdio: ["inherit", "inherit", "inherit", "pipe"],
      env: { ...memoryEnvironment, ...process.env, ...handoverEnv },
    });
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  const say = (message: string): void => void process.stderr.write(`orlop run: ${message}\n`);

  const stopKeeper = new AbortController();
  // The operator wants the agent replaced: it asks for its successor.
  let agentProcess: ChildProcess | undefined;
  process.on("SIGHUP", () => agentProcess?.kill("SIGTERM"));
  const startAgent = (): ChildProcess => {
    agentProcess = start("agent", agentFlags);
    return agentProcess;
  };
  const startKeeper = (): ChildProcess => start("keeper", keeperFlags, ["--remove-on-exit"]);
  const keeper = keepRunning({ name: "keeper", start: startKeeper }, { signal: stopKeeper.signal, say });
  const agent = keepRunning({ name: "agent", start: startAgent }, { signal: stop.signal, say });
  // It rejects when it could not be started; `await keeper` says so when the agent has ended.
  keeper.catch(() => stop.abort());
  await agent;
  stopKeeper.abort();
  return await keeper;
}
