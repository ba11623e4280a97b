// start-up · a plain machine: keeper and agent as separate processes; the one that dies is started again at once, and
// an agent that is told to end is followed by the next one while it still finishes what it has.
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { backoffMs } from "../backoff.ts";
import { reliefEnv } from "./handover.ts";

export type RunOptions = { readonly config: string; readonly main: string };

/** Filled by `make build`; without it each thread loads Node's type stripper, 20 MB resident apiece. */
const compileCache = fileURLToPath(new URL("../../build/compile-cache", import.meta.url));

/** Flags that narrow what an attacker who has taken the agent could do with its runtime. */
export const agentFlags = [
  "--disallow-code-generation-from-strings",
  "--disable-sigusr1",
  "--unhandled-rejections=throw",
  "--max-semi-space-size=2",
  "--no-parallel-scavenge",
  // For collect-garbage.ts.
  "--expose-gc",
];
export const keeperFlags = ["--disable-sigusr1", "--unhandled-rejections=throw"];
/** A program that lived this long before it died starts again without delay. */
const SETTLED_MS = 10_000;
/** After this long a program that was asked to stop, and that nobody follows, is killed. */
const STOP_DEADLINE_MS = 10_000;
/** Predecessors that still finish what they have. One more, and the oldest is ended. */
const MOST_LEAVING = 2;

type Program = { readonly name: "keeper" | "agent"; readonly start: () => ChildProcess };

/**
 * Runs until SIGINT or SIGTERM. Resolves to the exit status: 0 after a clean stop, 1 when the keeper could not be stopped
 * cleanly. The agent is stopped first, so that it can drain while its listeners still stand.
 */
export async function run(options: RunOptions): Promise<number> {
  const child = (name: Program["name"], flags: readonly string[], more: readonly string[] = []): Program => ({
    name,
    start: () =>
      spawn(process.execPath, [...flags, options.main, name, "-c", options.config, ...more], {
        stdio: ["inherit", "inherit", "inherit", "pipe"],
        env: { ...process.env, ...reliefEnv, NODE_COMPILE_CACHE: compileCache },
      }),
  });
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());

  const keeperStop = new AbortController();
  const keeper = keepRunning(child("keeper", keeperFlags, ["--remove-on-exit"]), keeperStop.signal);
  const agent = keepRunning(child("agent", agentFlags), stop.signal);
  await agent;
  keeperStop.abort();
  return keeper;
}

/** Starts the program again whenever it ends or leaves, until `signal`. Resolves to its last exit status. */
async function keepRunning(program: Program, signal: AbortSignal): Promise<number> {
  let quickDeaths = 0;
  const leaving: One[] = [];
  for (;;) {
    const startedAt = performance.now();
    const one = runOnce(program, signal);
    const status = await Promise.race([one.ended, one.left]);
    if (signal.aborted) {
      await Promise.all(leaving.map(({ ended }) => ended));
      return one.ended;
    }
    if (status === "left") {
      leaving.push(one);
      void one.ended.finally(() => leaving.splice(leaving.indexOf(one), 1));
      if (leaving.length > MOST_LEAVING) leaving[0]?.kill();
      process.stderr.write(`orlop run: the ${program.name} takes nothing new; starting the next one\n`);
      continue;
    }
    // Exit status 65 is a bad file: starting again would only repeat the message.
    if (status === 65) {
      process.exitCode = 65;
      process.kill(process.pid, "SIGTERM");
      return status;
    }
    quickDeaths = performance.now() - startedAt > SETTLED_MS ? 0 : quickDeaths + 1;
    // The first restart is immediate: connections wait at the held listeners for two seconds at most.
    const delay = quickDeaths <= 1 ? 0 : backoffMs(quickDeaths - 1, { baseMs: 50, capMs: 5_000 });
    process.stderr.write(`orlop run: the ${program.name} ended (status ${status}); starting it again\n`);
    await pause(delay, signal);
    if (signal.aborted) return 0;
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}

type One = {
  /** It called for relief and still runs. Never settles when it ends first. */
  readonly left: Promise<"left">;
  /** Its exit status; 128 when a signal ended it. */
  readonly ended: Promise<number>;
  kill(): void;
};

function runOnce(program: Program, signal: AbortSignal): One {
  const process_ = program.start();
  let killer: NodeJS.Timeout | undefined;
  const stop = (): void => {
    process_.kill("SIGTERM");
    killer ??= setTimeout(() => process_.kill("SIGKILL"), STOP_DEADLINE_MS);
  };
  signal.addEventListener("abort", stop, { once: true });
  const ended = new Promise<number>((resolve, reject) => {
    process_.once("error", reject);
    process_.once("exit", (code, killedBy) => {
      clearTimeout(killer);
      signal.removeEventListener("abort", stop);
      resolve(code ?? (killedBy ? 128 : 1));
    });
  });
  const left = new Promise<"left">((resolve) => {
    process_.stdio[3]?.once("data", () => resolve("left"));
  });
  return { left, ended, kill: () => void process_.kill("SIGKILL") };
}
