// bench · the scenarios by name.
import type { Scenario } from "./scenario.ts";
import { streamScenarios } from "./streams.ts";

export const scenarios: readonly Scenario[] = [...streamScenarios];
