// start-up · the pipe between agent and `orlop run`. On it the agent says once that it accepts no new connections any more, so
// that `orlop run` starts the next agent while this one finishes the connections that it has.
import { closeSync, fstatSync, writeSync } from "node:fs";
import { keepOnExec } from "./libc.ts";

/** The pipe's descriptor in the agent: the first after the standard ones. */
const HANDOVER_FD = 3;
const VARIABLE = "ORLOP_RELIEF";

/** What `orlop run` adds to the agent's environment; the pipe is the fourth entry of its `stdio`. */
export const handoverEnv: Readonly<Record<string, string>> = { [VARIABLE]: String(HANDOVER_FD) };

export type Handover = {
  /** Asks `orlop run` for a successor. Later calls do nothing. */
  announce(): void;
};

/** The agent's end of the pipe; null when no `orlop run` reads the other. Must be called before `shedPrivileges`. */
export function takeHandover(env: Readonly<Record<string, string | undefined>> = process.env): Handover | null {
  if (env[VARIABLE] !== String(HANDOVER_FD) || !isSocket(HANDOVER_FD)) return null;
  keepOnExec(HANDOVER_FD);
  let open = true;
  return {
    announce() {
      if (!open) return;
      open = false;
      try {
        writeSync(HANDOVER_FD, "relief\n");
      } catch {
        // `orlop run` has ended, so no agent follows.
      }
      closeSync(HANDOVER_FD);
    },
  };
}

function isSocket(fd: number): boolean {
  try {
    return fstatSync(fd).isSocket();
  } catch {
    return false; // Not open: the variable was inherited from another program.
  }
}
