// demo · the demo's scenarios, in their order, as data. Each looks for itself and throws when it saw something else.
import type { DemoBox } from "./mesh-box.ts";
import { callScenarios } from "./scenarios-calls.ts";
import { lifeScenarios } from "./scenarios-life.ts";

export type Scenario = {
  readonly name: string;
  /** What was measured, in a few words. Throws with what was expected and what was seen. */
  readonly run: (box: DemoBox) => Promise<string>;
};

export const scenarios: readonly Scenario[] = [...callScenarios, ...lifeScenarios];
