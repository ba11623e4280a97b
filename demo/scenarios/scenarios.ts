// demo · the demo's scenarios, in their order, as data. Each looks for itself and throws when it saw something else.

import { callScenarios } from "./calls.ts";
import { lifeScenarios } from "./life.ts";
import { requestScenarios } from "./requests.ts";
import { routeScenarios } from "./routes.ts";
import type { Scenario } from "./scenario.ts";

export const scenarios: readonly Scenario[] = [
  ...callScenarios,
  ...requestScenarios,
  ...routeScenarios,
  ...lifeScenarios,
];
