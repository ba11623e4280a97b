// tests · waits for what an engine, its peers and applications do beside the test.
import { until as untilHeld } from "../support/until.ts";

/** As `until` of all tests; `what` says for what a test has waited in vain. */
export const until = (holds: () => boolean, what = "what the test waits for"): Promise<void> =>
  untilHeld(holds, { what });
