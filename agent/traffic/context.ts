// 7, 12 · data thread · what the answering files share: tables of this thread, the believed world, and what was injected.
import type { Recorder } from "../observe/recorder.ts";
import type { PlanWorld } from "../plan/plan.ts";
import type { RequestWorld } from "../plan/plan-request.ts";
import type { Evaluator } from "../policy/evaluate.ts";
import type { JudgeLimits } from "../policy/limits.ts";
import type { EndpointCosts } from "./endpoint-costs.ts";
import type { EndpointLoad } from "./endpoint-load.ts";
import type { ExpectedPeers } from "./expected-peers.ts";
import type { Origins } from "./origins.ts";
import type { VerifiedPeers } from "./peers.ts";
import type { Pods } from "./pods.ts";
import type { LiveConnections } from "./rejudge.ts";
import type { RetryBudget } from "./retry-budget.ts";
import type { UnreachedPeers } from "./unreached.ts";

export type TrafficContext = {
  readonly pods: Pods;
  readonly live: LiveConnections;
  readonly load: EndpointLoad;
  readonly unreached: UnreachedPeers;
  readonly expected: ExpectedPeers;
  readonly verified: VerifiedPeers;
  /** The mesh as this thread believes it: a live view, consistent within one turn. */
  readonly world: PlanWorld;
  /** What a request at the caller's end is planned by. */
  readonly requests: RequestWorld;
  /** What endpoints cost the requests of served connections. */
  readonly costs: EndpointCosts;
  readonly retries: RetryBudget;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly recorder: Pick<Recorder, "retried">;
  readonly origins: Pick<Origins, "numberOf" | "dropPod">;
  /** Of requests, by that mesh. */
  readonly evaluator: Pick<Evaluator, "judge" | "readsPaths">;
  /** What limits say of a request that policy allows, which they count. */
  readonly limits: JudgeLimits;
  /** The integer under which the certificate of this SPIFFE ID is installed; undefined: not yet. */
  readonly ownIdentity: (spiffeId: string) => number | undefined;
  readonly traceparent: () => string;
};
