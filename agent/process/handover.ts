// main thread · the pipe between them, on which the agent says one thing once: that it takes nothing new any more, so
// that the next one can start while this one finishes what it has.
import { closeSync, fstatSync, writeSync } from "node:fs";
import { keepOnExec } from "./libc.ts";

/** The pipe's descriptor in the agent: the first after the standard ones. */
const RELIEF_FD = 3;
const VARIABLE = "ORLOP_RELIEF";

/** What `orlop run` adds to the agent's environment; the pipe is the fourth entry of its `stdio`. */
export const reliefEnv: Readonly<Record<string, string>> = { [VARIABLE]: String(RELIEF_FD) };

export type Relief = { call(): void };

/** The agent's end; null when nobody waits at the other. To be taken before `shedPrivileges`. */
export function takeRelief(env: Readonly<Record<string, string | undefined>> = process.env): Relief | null {
  if (env[VARIABLE] !== String(RELIEF_FD) || !isSocket(RELIEF_FD)) return null;
  keepOnExec(RELIEF_FD);
  let open = true;
  return {
    call() {
      if (!open) return;
      open = false;
      try {
        writeSync(RELIEF_FD, "relief\n");
      } catch {
        // `orlop run` has gone, and nobody follows.
      }
      closeSync(RELIEF_FD);
    },
  };
}

function isSocket(fd: number): boolean {
  try {
    return fstatSync(fd).isSocket();
  } catch {
    return false; // Not open: the variable was inherited from elsewhere.
  }
}
