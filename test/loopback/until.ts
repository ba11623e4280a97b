// tests · waits for what an engine, its peers and applications do beside the test.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

/** Asks every 5 ms. After a minute the test fails with `what`: no figure of an engine, but the end of waiting on a busy machine. */
export async function until(holds: () => boolean, what = "what the test waits for"): Promise<void> {
  for (const end = performance.now() + 60_000; !holds(); await sleep(5))
    assert.ok(performance.now() < end, `not within a minute: ${what}`);
}
