// demo · the demo's scenarios, in their order, as data. Each looks for itself and throws when it saw something else.
import type { Scenario } from "./scenario.ts";
import { callScenarios } from "./scenarios-calls.ts";
import { lifeScenarios } from "./scenarios-life.ts";
import { requestScenarios } from "./scenarios-requests.ts";
import { routeScenarios } from "./scenarios-routes.ts";

export const scenarios: readonly Scenario[] = [
  ...callScenarios,
  ...requestScenarios,
  ...routeScenarios,
  ...lifeScenarios,
];
