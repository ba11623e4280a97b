// start-up · keeps one program running: starts it again when it dies, and starts its successor when it asks for that. The program
// hands over to its successor by itself, and then finishes the connections that it has.
import type { ChildProcess } from "node:child_process";
import { Writable } from "node:stream";
import { backoffMs } from "../attempts/backoff.ts";
import { STOPS } from "./handover.ts";

export type Program = {
  /** As messages call it. */
  readonly name: string;
  /**
   * The fourth entry of the process's `stdio` is a pipe: the program's first bytes on it ask for its successor, and it is said on the
   * pipe when the program is stopped for good.
   */
  readonly start: () => ChildProcess;
};

export type KeepRunningOptions = {
  /** Stops the program and its predecessors. */
  readonly signal: AbortSignal;
  /** A line for the operator. */
  readonly say: (message: string) => void;
};

/** EX_DATAERR of sysexits.h: the program's file is wrong, and the program has said where. */
export const BAD_FILE_STATUS = 65;
/** A program that lived this long before it died starts again without delay. */
const SETTLED_MS = 10_000;
/** A program that was asked to stop, and that nobody follows, is killed after this time. */
const STOP_DEADLINE_MS = 10_000;
/** Predecessors that may still hand over or finish their connections. When there are more, the oldest is killed. */
const MOST_LEAVING = 2;

/**
 * Starts the program, and starts it again whenever it ends or hands over, until `signal` aborts. No exit status ends this: a file
 * that is wrong now may be half written. Resolves, once the program and all its predecessors have ended, to its last exit status.
 */
export async function keepRunning(program: Program, { signal, say }: KeepRunningOptions): Promise<number> {
  let quickDeaths = 0;
  const leaving: RunningProgram[] = [];
  for (;;) {
    const startedAt = performance.now();
    const current = runOnce(program, signal);
    const status = await Promise.race([current.ended, current.handedOver]);
    if (signal.aborted) {
      await Promise.all(leaving.map(({ ended }) => ended));
      return current.ended;
    }
    if (status === "handed-over") {
      leaving.push(current);
      void current.ended.finally(() => leaving.splice(leaving.indexOf(current), 1));
      if (leaving.length > MOST_LEAVING) leaving[0]?.kill();
      say(`starting the next ${program.name}, to which this one hands over`);
      continue;
    }
    quickDeaths = performance.now() - startedAt > SETTLED_MS ? 0 : quickDeaths + 1;
    // The first restart is immediate: connections wait at the held listeners for two seconds at most.
    const delayMs = quickDeaths <= 1 ? 0 : backoffMs(quickDeaths - 1, { baseMs: 50, capMs: 5_000 });
    const why =
      status === BAD_FILE_STATUS ? "its configuration is wrong, see above; what is captured stays captured" : "";
    say(`the ${program.name} ended (status ${status}); starting it again${why && `: ${why}`}`);
    await pause(delayMs, signal);
    if (signal.aborted) {
      await Promise.all(leaving.map(({ ended }) => ended));
      return 0;
    }
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

type RunningProgram = {
  /** Resolves when the process announces a handover; it still runs then. Never settles when it ends first. */
  readonly handedOver: Promise<"handed-over">;
  /** Its exit status; 128 when a signal ended it. Rejects when it could not be started. */
  readonly ended: Promise<number>;
  kill(): void;
};

function runOnce(program: Program, signal: AbortSignal): RunningProgram {
  const child = program.start();
  let killer: NodeJS.Timeout | undefined;
  const stop = (): void => {
    const pipe = child.stdio[3];
    // First, so that the program does not wait for a successor.
    if (pipe instanceof Writable) pipe.end(STOPS);
    child.kill("SIGTERM");
    killer ??= setTimeout(() => child.kill("SIGKILL"), STOP_DEADLINE_MS);
  };
  signal.addEventListener("abort", stop, { once: true });
  const ended = new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, killedBy) => {
      clearTimeout(killer);
      signal.removeEventListener("abort", stop);
      resolve(code ?? (killedBy ? 128 : 1));
    });
  });
  const handedOver = new Promise<"handed-over">((resolve) => {
    child.stdio[3]?.once("data", () => resolve("handed-over"));
  });
  child.stdio[3]?.on("error", () => {}); // The program has ended, and `ended` says so.
  return { handedOver, ended, kill: () => void child.kill("SIGKILL") };
}
