// 18, 19 · data thread · a request that is open: what is asked, what was decided of it, which endpoints have had it; its record in the end.
import type { RequestEnded } from "../engine/events.ts";
import type { Endpoint } from "../mesh/endpoint.ts";
import type { Workload } from "../mesh/workload.ts";
import type { DecisionSummary } from "../observe/decision-summary.ts";
import { summarize } from "../observe/decision-summary.ts";
import type { ConnectionRecord } from "../observe/record.ts";
import { recordService } from "../observe/record.ts";
import type { RecordedRoute, RequestRecord } from "../observe/request-record.ts";
import type { TryShows } from "../plan/ejection.ts";
import type { ForwardPlan, RequestPlan } from "../plan/forwarded-request.ts";
import type { RequestSample } from "../plan/peak-ewma.ts";
import type { FlaggedTries, RequestEnding } from "../plan/request-outcome.ts";
import { retryRuleOf, wouldBeRetried } from "../plan/retry.ts";
import type { RequestVerdict } from "../policy/judge-request.ts";
import type { EndpointCost, EndpointCosts } from "./endpoint-costs.ts";
import type { EndpointHold } from "./endpoint-health.ts";
import type { OpenTo } from "./endpoint-load.ts";
import type { RequestPlace } from "./request-caps.ts";

/** What is asked. Each empty but the number: the head was refused before anybody could read it. */
export type RequestWords = Pick<RequestRecord, "method" | "path" | "host" | "id"> & { readonly request: number };

/** Where a request is, and what counts it there. `end` is called once; with what it has shown of the endpoint, or null. */
export type GoesTo = {
  readonly target: Endpoint;
  readonly openTo: OpenTo;
  readonly cost: EndpointCost;
  readonly costs: Pick<EndpointCosts, "end">;
  /** null: nobody asks whether the endpoint serves. */
  readonly hold: EndpointHold | null;
};

const nobody: readonly never[] = [];

/** Of a request that routes have taken: what of it changes while it is tried. */
type Tries = {
  route: RecordedRoute;
  plan: RequestPlan;
  /** How its endpoint is let go; null: nobody has it. */
  goesTo: GoesTo | null;
  /** The endpoint that has it, others that have had it before, and how often any has had it. */
  at: Endpoint | null;
  tried: readonly Endpoint[];
  attempts: number;
  /** Tries by its rule's `retry`; and the pause before the next of them is under way. */
  retries: number;
  pauses: boolean;
  /** Another try was refused: the rule's are too many already. */
  hasNoBudget: boolean;
  /** By its rule's fault. */
  isDelayed: boolean;
};

export class OpenRequest {
  readonly request: number;
  readonly method: string;
  readonly path: string;
  readonly host: string;
  readonly id: string;
  /** Milliseconds of the recorder's clock. */
  readonly sinceMs: number;
  /** The target in whose place another went on; empty: what was sent. */
  written = "";
  decision: DecisionSummary | null = null;
  /** Who was to get copies of it; null: nobody. */
  mirrors: readonly string[] | null = null;
  #tries: Tries | null = null;
  /** Among those that may be under way; null: nobody counts them. */
  #place: RequestPlace | null = null;

  constructor({ request, method, path, host, id }: RequestWords, sinceMs: number) {
    this.request = request;
    this.method = method;
    this.path = path;
    this.host = host;
    this.id = id;
    this.sinceMs = sinceMs;
  }

  routed(route: RecordedRoute, plan: RequestPlan): void {
    this.#tries = {
      route,
      plan,
      goesTo: null,
      at: null,
      tried: nobody,
      attempts: 0,
      retries: 0,
      pauses: false,
      hasNoBudget: false,
      isDelayed: false,
    };
  }

  /** null: it came to no route. */
  get plan(): RequestPlan | null {
    return this.#tries?.plan ?? null;
  }

  get route(): RecordedRoute | null {
    return this.#tries?.route ?? null;
  }

  /** Endpoints that have had it. */
  get tried(): readonly Endpoint[] {
    return this.#tries?.tried ?? nobody;
  }

  /** How often it was tried. */
  get attempts(): number {
    return this.#tries?.attempts ?? 0;
  }

  /** How often its rule has had it tried again. */
  get retries(): number {
    return this.#tries?.retries ?? 0;
  }

  delayed(): void {
    if (this.#tries !== null) this.#tries.isDelayed = true;
  }

  /** As many connections as may be are open, and none was there for it in time. */
  hasNoPlace(): void {
    if (this.#tries !== null) this.#tries.route = { ...this.#tries.route, answer: "overflow" };
  }

  hasNoBudget(): void {
    if (this.#tries !== null) this.#tries.hasNoBudget = true;
  }

  /** What of its tries the flag of its end says. undefined: nobody has planned it here. */
  flagged(ended: Pick<RequestEnded, "outcome" | "status" | "notReached">): FlaggedTries | undefined {
    if (this.#tries === null) return undefined;
    const { plan, retries, pauses, hasNoBudget, isDelayed } = this.#tries;
    if (plan?.kind !== "forward") return { isDelayed, retry: null };
    const rule = retryRuleOf(plan.entry, this.method);
    if (rule === null || !wouldBeRetried(ended, rule)) return { isDelayed, retry: null };
    // In a pause the last of its tries is yet to come.
    const isSpent = retries >= rule.attempts && !pauses;
    return { isDelayed, retry: hasNoBudget ? "budget" : isSpent ? "spent" : null };
  }

  /** To this endpoint, until it ends or is tried elsewhere. */
  goes(to: GoesTo): void {
    const tries = this.#tries;
    if (tries === null) throw new Error("a request that no route has taken goes nowhere");
    this.leave(null, null);
    tries.goesTo = to;
    tries.at = to.target;
    tries.attempts += 1;
  }

  /** Nobody could be connected to where it was to go, by no doing of its caller. */
  unreached(): void {
    this.#tries?.goesTo?.hold?.unreached();
  }

  /** Nobody has it any more; with what it has shown of its endpoint, or null. */
  leave(sample: RequestSample | null, shows: TryShows | null): void {
    const tries = this.#tries;
    if (tries === null || tries.goesTo === null) return;
    const { openTo, costs, cost, hold } = tries.goesTo;
    tries.goesTo = null;
    openTo.release();
    try {
      costs.end(cost, sample);
    } finally {
      hold?.end(shows);
    }
  }

  /** Its try has failed. */
  tryEnded(sample: RequestSample, shows: TryShows): void {
    this.leave(sample, shows);
    const tries = this.#tries;
    if (tries === null) return;
    if (tries.at !== null) tries.tried = [...tries.tried, tries.at];
    tries.at = null;
  }

  /** A copy of it goes there, once it is whole. */
  mirrored(to: string): void {
    this.mirrors = [...(this.mirrors ?? []), to];
  }

  /** It has a place until it ends. */
  takes(place: RequestPlace | null): void {
    this.#place = place;
  }

  /** It is over, or has become a websocket. */
  ended(sample: RequestSample | null, shows: TryShows | null): void {
    const place = this.#place;
    this.#place = null;
    // Whatever else fails: nobody gives it back later.
    place?.release();
    this.leave(sample, shows);
  }

  /** It is tried again behind a pause. */
  pausesBeforeTry(): void {
    if (this.#tries === null) return;
    this.#tries.retries += 1;
    this.#tries.pauses = true;
  }

  /** Once for each pause: it is over. */
  takePause(): boolean {
    if (this.#tries?.pauses !== true) return false;
    this.#tries.pauses = false;
    return true;
  }

  /** Another endpoint has it by now. */
  triedAgain(verdict: RequestVerdict | null, plan: RequestPlan): void {
    if (this.#tries === null) return;
    this.decision = verdict === null ? null : summarize(verdict);
    this.#tries.plan = plan;
  }

  /** `connection`: what is known of the connection on which it came. */
  recordOf(connection: ConnectionRecord, ended: RequestEnded, ending: RequestEnding): RequestRecord {
    const { plan } = this;
    if (plan?.kind === "forward") return new ForwardedRequest(this, { connection, plan }, ended, ending);
    const { route, method, path, host, id, decision } = this;
    const { outcome, status, grpcStatus, requestBytes, responseBytes, durationUs } = ended;
    const { flag, details, refused } = ending;
    const attempts = route === null && outcome !== "refused" && outcome !== "replied" ? 1 : 0;
    return {
      route,
      connection,
      method,
      path,
      host,
      id,
      decision,
      attempts,
      status,
      grpcStatus,
      flag,
      details,
      refused,
      requestBytes,
      responseBytes,
      durationUs,
    };
  }
}

/** Most are counted and never written, so what only a line of the log needs is made when a line asks for it. */
class ForwardedRequest implements RequestRecord {
  readonly route: RecordedRoute | null;
  readonly method: string;
  readonly path: string;
  readonly host: string;
  readonly id: string;
  readonly decision: DecisionSummary | null;
  readonly attempts: number;
  readonly status: number;
  readonly grpcStatus: number | undefined;
  readonly mirrors: readonly string[] | undefined;
  readonly flag: RequestRecord["flag"];
  readonly details: string;
  readonly refused: RequestRecord["refused"];
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly durationUs: number;
  readonly #ways: { readonly connection: ConnectionRecord; readonly plan: ForwardPlan };

  constructor(
    request: OpenRequest,
    ways: { readonly connection: ConnectionRecord; readonly plan: ForwardPlan },
    ended: RequestEnded,
    { flag, details, refused }: RequestEnding,
  ) {
    this.route = request.route;
    this.method = request.method;
    this.path = request.path;
    this.host = request.host;
    this.id = request.id;
    this.decision = request.decision;
    this.attempts = request.attempts;
    this.status = ended.status;
    this.grpcStatus = ended.grpcStatus;
    this.mirrors = request.mirrors ?? undefined;
    this.flag = flag;
    this.details = details;
    this.refused = refused;
    this.requestBytes = ended.requestBytes;
    this.responseBytes = ended.responseBytes;
    this.durationUs = ended.durationUs;
    this.#ways = ways;
  }

  get connection(): ConnectionRecord {
    const { connection, plan } = this.#ways;
    return { ...connection, ...wayOf(plan) };
  }
}

/** The far end: what of the connection's record is this request's own. */
function wayOf({ route }: ForwardPlan): Partial<ConnectionRecord> {
  const { target, destination, service } = route;
  const workload: Workload | null = destination;
  const reached = route.kind === "tunnel" ? route.to : target;
  return {
    service: recordService(service),
    destination: { ...reached, workload, identity: route.kind === "direct" ? null : (destination?.identity ?? null) },
    hbone: route.kind === "tunnel" ? target : null,
    security: route.kind === "tunnel" ? "mtls" : route.kind === "local" ? "socket" : "none",
  };
}
