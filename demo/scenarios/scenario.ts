// demo · what a scenario is: a name, and a run that looks for itself.
import type { DemoBox } from "../mesh/mesh-box.ts";

export type Scenario = {
  readonly name: string;
  /** What was measured, in a few words. Throws with what was expected and what was seen. */
  readonly run: (box: DemoBox) => Promise<string>;
};
