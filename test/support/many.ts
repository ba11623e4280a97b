// test support · many-connections.ts, driven from a test.
import { fileURLToPath } from "node:url";
import type { Target } from "../../demo/app/client.ts";
import type { Host } from "../box/cluster.ts";
import { tail } from "../box/process.ts";
import type { ManyEnd, ManyUp } from "./many-connections.ts";

const program = fileURLToPath(new URL("./many-connections.ts", import.meta.url));
const UP_MS = 60_000;

export type Many = {
  readonly up: ManyUp;
  /** Lets go of those that live. */
  finish(): Promise<ManyEnd>;
  /** Waits until none lives. */
  allDead(deadlineMs: number): Promise<ManyEnd>;
};

/** `silent`: connected and nothing said; `line`: each got an answer of the application. */
export async function openMany(from: Host, to: Target, count: number, mode: "line" | "silent" = "line"): Promise<Many> {
  const running = from.start([process.execPath, program, to.host, String(to.port), String(count), mode]);
  const up = JSON.parse(await running.line(UP_MS)) as ManyUp;
  const end = async (deadlineMs: number): Promise<ManyEnd> => {
    const event = JSON.parse(await running.line(deadlineMs)) as ManyEnd;
    const done = await running.wait(10_000);
    if (done.status !== 0) throw new Error(`many-connections ended with ${done.status}: ${tail(done.stderr)}`);
    return event;
  };
  return {
    up,
    finish: () => {
      running.endInput();
      return end(30_000);
    },
    allDead: end,
  };
}
