// bench · the scenarios, in the order of the table.
import { abuseScenarios } from "./abuse.ts";
import { bystanderScenarios } from "./bystander.ts";
import { callScenarios } from "./calls.ts";
import { captureScenarios } from "./capture.ts";
import { coldScenarios } from "./cold.ts";
import { idleScenarios, restScenario } from "./idle.ts";
import { kubernetesScenarios } from "./kubernetes.ts";
import { largeScenarios } from "./large.ts";
import { latencyScenarios } from "./latency.ts";
import { outsideScenarios } from "./outside.ts";
import { payloadScenarios } from "./payload.ts";
import { pureScenarios } from "./pure.ts";
import { recordScenarios } from "./records.ts";
import { requestScenarios } from "./requests.ts";
import type { Scenario } from "./scenario.ts";
import { severScenarios } from "./sever.ts";
import { slowReaderScenarios } from "./slow-reader.ts";
import { streamScenarios } from "./streams.ts";

export const scenarios: readonly Scenario[] = [
  // First: afterwards nobody is at rest any more, and memory once taken is taken again.
  restScenario,
  ...idleScenarios,
  ...streamScenarios,
  ...payloadScenarios,
  ...requestScenarios,
  ...callScenarios,
  ...bystanderScenarios,
  ...coldScenarios,
  ...latencyScenarios,
  ...abuseScenarios,
  ...slowReaderScenarios,
  ...captureScenarios,
  ...outsideScenarios,
  ...severScenarios,
  ...recordScenarios,
  ...pureScenarios,
  ...largeScenarios,
  ...kubernetesScenarios,
];
