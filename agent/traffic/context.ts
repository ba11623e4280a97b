// 7, 12 · data thread · what the answering files share: tables of this thread, the believed world, and what was injected.
import { RouteTables } from "../l7/route-tables.ts";
import type { Recorder } from "../observe/recorder.ts";
import { traceparents } from "../plan/connect-headers.ts";
import type { RequestWorld } from "../plan/forwarded-request.ts";
import { judge } from "../plan/judge-connection.ts";
import type { PlanWorld } from "../plan/plan.ts";
import type { JudgeLimits } from "../policy/limits.ts";
import { RequestVerdicts } from "../policy/request-verdicts.ts";
import { ClientHellos } from "./client-hellos.ts";
import { ConnectionCaps } from "./connection-caps.ts";
import { EjectionCells } from "./ejection-cells.ts";
import { EndpointAges } from "./endpoint-ages.ts";
import { EndpointCosts } from "./endpoint-costs.ts";
import { EndpointHealth } from "./endpoint-health.ts";
import { EndpointLoad } from "./endpoint-load.ts";
import { ExpectedPeers } from "./expected-peers.ts";
import { FaultDelays } from "./fault-delays.ts";
import type { TrafficOptions } from "./options.ts";
import { Origins } from "./origins.ts";
import { VerifiedPeers } from "./peers.ts";
import { Pods } from "./pods.ts";
import { RateCells } from "./rate-cells.ts";
import { LiveConnections } from "./rejudge.ts";
import { RequestCaps } from "./request-caps.ts";
import { RetryBudget } from "./retry-budget.ts";
import { RetryCells } from "./retry-cells.ts";
import { newSharedState } from "./shared-state.ts";
import { UnderWayCells } from "./under-way-cells.ts";
import { UnreachedPeers } from "./unreached.ts";

export type TrafficContext = {
  readonly pods: Pods;
  readonly live: LiveConnections;
  readonly load: EndpointLoad;
  readonly unreached: UnreachedPeers;
  readonly hellos: ClientHellos;
  readonly delays: FaultDelays;
  readonly expected: ExpectedPeers;
  readonly verified: VerifiedPeers;
  /** The mesh as this thread believes it: a live view, consistent within one turn. */
  readonly world: PlanWorld;
  /** What a request at the caller's end is planned by. */
  readonly requests: RequestWorld;
  /** What endpoints cost the requests of served connections. */
  readonly costs: EndpointCosts;
  /** Which of them fail. */
  readonly health: Pick<EndpointHealth, "hold" | "ejected">;
  /** How many may be under way. */
  readonly caps: Pick<RequestCaps, "take">;
  /** How many connections may be open. */
  readonly connections: Pick<ConnectionCaps, "take" | "refused" | "poolOf">;
  readonly retries: RetryBudget;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly recorder: Pick<Recorder, "retried" | "mirrored">;
  /** An exception of ours in the place of a copy of a request, which goes on. */
  readonly copyFault: (error: unknown) => void;
  readonly origins: Pick<Origins, "numberOf" | "dropPod" | "dropCopiesHere">;
  /** Of requests, by that mesh. */
  readonly verdicts: Pick<RequestVerdicts, "of">;
  /** What limits say of a request that policy allows, which they count. */
  readonly limits: JudgeLimits;
  /** The integer under which the certificate of this SPIFFE ID is installed; undefined: not yet. */
  readonly ownIdentity: (spiffeId: string) => number | undefined;
  readonly traceparent: () => string;
};

/** `own`: SPIFFE ID → the integer under which our certificate for it is installed. */
export function createContext(options: TrafficOptions, own: ReadonlyMap<string, number>): TrafficContext {
  const pods = new Pods();
  const load = new EndpointLoad();
  const world: PlanWorld = {
    mesh: options.mesh,
    judge: options.judge,
    ...(options.settle && { settle: options.settle }),
    servedHere: (uid) => pods.byWorkload(uid) !== undefined,
    load: (address, port) => load.of(address, port),
    random: options.random,
  };
  const costs = new EndpointCosts(options.now);
  const { thread, threads, shared } = options.among ?? { thread: 0, threads: 1, shared: newSharedState(1) };
  const sharedNow = options.sharedNow ?? options.now;
  const rates = new RateCells(shared.rates);
  const health = new EndpointHealth({ ejections: new EjectionCells(shared.ejections), rates }, sharedNow);
  const readsPaths = options.readsPaths ?? (() => true);
  const wall = options.wallMs === undefined ? {} : { wallMs: options.wallMs };
  return {
    pods,
    load,
    live: new LiveConnections(),
    unreached: new UnreachedPeers(options),
    hellos: new ClientHellos(),
    delays: new FaultDelays(options),
    expected: new ExpectedPeers(),
    verified: new VerifiedPeers(),
    world,
    verdicts: new RequestVerdicts(options.mesh, { judge: (facts) => judge(facts, world), readsPaths }),
    costs,
    health,
    requests: {
      ...{ ...world, costs, health, ages: new EndpointAges(options.now) },
      ...{ routes: new RouteTables(options.mesh), readsPaths, ...wall },
    },
    limits: options.limits,
    origins: new Origins(options.origins),
    caps: new RequestCaps(new UnderWayCells(shared.underWay, threads), thread),
    connections: new ConnectionCaps(new UnderWayCells(shared.connections, threads, "awaited"), thread),
    retries: new RetryBudget({ cells: new RetryCells(shared.retries), now: sharedNow }),
    random: options.random,
    recorder: options.recorder,
    copyFault: (error) => {
      options.recorder.mirrored("internal-error");
      options.reports.copyFault(error);
    },
    ownIdentity: (spiffeId) => own.get(spiffeId),
    traceparent: traceparents(options.fillRandom),
  };
}
