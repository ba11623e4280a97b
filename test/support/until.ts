// tests · waits for what comes beside the test: bounded, so that a test which waits in vain says for what, and not just that its time is over.
import assert from "node:assert/strict";
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";

/** In ms. No figure of what is tested, but the end of waiting on a busy machine, a little before the end of the test itself (`--test-timeout`). */
const PATIENCE_MS = 110_000;

/** What a test that waited in vain says: for what, and, by `seen`, what there was instead. */
export type Waiting = { readonly what?: string; readonly seen?: () => unknown };

/** Asks every 5 ms. After 110 s the test fails with `what`, or the text of the condition. */
export function until(holds: () => boolean | Promise<boolean>, waiting: Waiting = {}): Promise<void> {
  return asking(holds, () => sleep(5), waiting);
}

/** As `until`, at each turn of the event loop: for what happens in this thread. */
export function untilByTurns(holds: () => boolean, waiting: Waiting = {}): Promise<void> {
  return asking(holds, () => turn(), waiting);
}

/** What `coming` brings. After 110 s the test fails with `what`. */
export async function inTime<Answer>(coming: Promise<Answer>, { what = "an event", seen }: Waiting): Promise<Answer> {
  const { promise: never, reject } = Promise.withResolvers<never>();
  const late = setTimeout(() => reject(inVain(what, seen)), PATIENCE_MS);
  try {
    return await Promise.race([coming, never]);
  } finally {
    clearTimeout(late);
  }
}

async function asking(
  holds: () => boolean | Promise<boolean>,
  pause: () => Promise<unknown>,
  { what = String(holds), seen }: Waiting,
): Promise<void> {
  for (const end = performance.now() + PATIENCE_MS; !(await holds()); await pause())
    if (performance.now() >= end) throw inVain(what, seen);
}

function inVain(what: string, seen?: () => unknown): Error {
  const instead = seen === undefined ? "" : `; there is ${JSON.stringify(seen())}`;
  return new assert.AssertionError({ message: `not within ${PATIENCE_MS} ms: ${what}${instead}` });
}
