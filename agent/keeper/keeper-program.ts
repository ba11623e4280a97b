// keeper · `orlop keeper`: the keeper as a program of its own, with the process's signals, an exit status and a log on stderr.
import { quietJson } from "../mesh/terminal-text.ts";
import { runKeeper } from "./keeper.ts";
import type { KeeperLog } from "./lend.ts";
import type { KeeperSettings } from "./settings.ts";

/** `orlop run` says that it stops before it sends SIGTERM; the signal may be seen first. */
const STOP_WORD_MS = 500;

type KeeperProgramOptions = {
  readonly removeOnExit: boolean;
  /** Calls once when `orlop run` has ended, and whether it stops; null: this keeper was not started by it. */
  readonly handover: { onAlone(call: (stops: boolean) => void): void } | null;
};

/**
 * Calls once when the keeper is to end. Under `orlop run` only its word is an operator's stop: a signal to this process alone
 * ends the keeper and leaves everything to the next, and SIGINT means nothing, since a terminal sends it to `orlop run`, too.
 */
function onEnd(handover: KeeperProgramOptions["handover"], call: (isStop: boolean) => void): void {
  if (handover === null) {
    for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => call(true));
    return;
  }
  handover.onAlone((stops) => stops && call(true));
  process.on("SIGINT", () => {});
  process.once("SIGTERM", () => setTimeout(() => call(false), STOP_WORD_MS));
}

/** `orlop keeper`: the same with the process's signals and a JSON log on stderr. Resolves to the exit status. */
export async function runKeeperProgram(
  config: KeeperSettings,
  { removeOnExit, handover }: KeeperProgramOptions,
): Promise<number> {
  const stop = new AbortController();
  let removes = false;
  onEnd(handover, (isStop) => {
    if (stop.signal.aborted) return;
    removes = removeOnExit && isStop;
    stop.abort();
  });
  const log = jsonLog(config.log.level);
  const options = {
    log,
    signal: stop.signal,
    get removeOnExit() {
      return removes;
    },
  };
  try {
    await runKeeper(config, options);
    return 0;
  } catch (error) {
    const { message, ...fields } = error instanceof Error ? error : new Error(String(error));
    log.error(message, fields);
    return 1;
  }
}

const levels = ["debug", "info", "warn", "error", "off"];

/** The keeper's own log: it may import no namespace's, and says little. */
function jsonLog(level: string): KeeperLog {
  const from = Math.max(0, levels.indexOf(level));
  const write =
    (name: string) =>
    (message: string, fields: Readonly<Record<string, unknown>> = {}): void => {
      if (levels.indexOf(name) < from) return;
      const line = { level: name, time: new Date().toISOString(), scope: "keeper", ...fields, message };
      process.stderr.write(`${quietJson(JSON.stringify(line))}\n`);
    };
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}
