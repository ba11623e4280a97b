// start-up · the pipe between agent and `orlop run`. On it the agent asks once for the next agent, to which it then hands the node
// over; and it learns from it that `orlop run` stops or has died, so that no agent will follow.
import { fstatSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import { keepOnExec } from "./libc.ts";

/** The pipe's descriptor in the agent: the first after the standard ones. */
const HANDOVER_FD = 3;
const VARIABLE = "ORLOP_RELIEF";
/** What `orlop run` says on the pipe before it stops its programs. */
export const STOPS = "stop\n";

/** What `orlop run` adds to the agent's environment; the pipe is the fourth entry of its `stdio`. */
export const handoverEnv: Readonly<Record<string, string>> = { [VARIABLE]: String(HANDOVER_FD) };

export type Handover = {
  /** Asks `orlop run` for a successor. Later calls do nothing. */
  announce(): void;
  /** Calls once when `orlop run` will start no successor: it stops its programs, or it has died. */
  onAlone(call: (stops: boolean) => void): void;
};

/** The agent's end of the pipe; null when no `orlop run` reads the other. Must be called before `shedPrivileges`. */
export function takeHandover(env: Readonly<Record<string, string | undefined>> = process.env): Handover | null {
  if (env[VARIABLE] !== String(HANDOVER_FD) || !isSocket(HANDOVER_FD)) return null;
  keepOnExec(HANDOVER_FD);
  let isAnnounced = false;
  return {
    announce() {
      if (isAnnounced) return;
      isAnnounced = true;
      try {
        writeSync(HANDOVER_FD, "relief\n");
      } catch {
        // `orlop run` has ended; `onAlone` calls.
      }
    },
    onAlone(call) {
      const pipe = new Socket({ fd: HANDOVER_FD, readable: true, writable: false });
      let text = "";
      pipe.on("data", (bytes) => {
        text = `${text}${bytes}`.slice(0, STOPS.length);
      });
      pipe.on("error", () => {}); // "close" follows.
      pipe.once("close", () => call(text === STOPS));
      pipe.unref();
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
