// 18, 19 · data thread · a request that is open: what is asked, what was decided of it, which endpoints have had it; its record in the end.
import type { RequestEnded } from "../engine/events.ts";
import type { Endpoint } from "../mesh/endpoint.ts";
import type { DecisionSummary } from "../observe/decision-summary.ts";
import { summarize } from "../observe/decision-summary.ts";
import type { ConnectionRecord } from "../observe/record.ts";
import type { RecordedRoute, RequestRecord } from "../observe/request-record.ts";
import type { TryShows } from "../plan/ejection.ts";
import type { RequestSample } from "../plan/peak-ewma.ts";
import type { RequestPlan } from "../plan/plan-request.ts";
import type { RequestEnding } from "../plan/request-outcome.ts";
import type { RequestVerdict } from "../policy/judge-request.ts";
import type { EndpointCost, EndpointCosts } from "./endpoint-costs.ts";
import type { EndpointHold } from "./endpoint-health.ts";
import type { OpenTo } from "./endpoint-load.ts";
import type { RequestPlace } from "./request-caps.ts";

/** What is asked. Each empty but the number: the head was refused before anybody could read it. */
export type RequestWords = Pick<RequestRecord, "method" | "path" | "host" | "id"> & { readonly request: number };

/** What became of a request at the caller's end. `way`: what of the connection's record is this request's own. */
export type Routed = RecordedRoute & {
  readonly plan: RequestPlan;
  readonly way: Partial<ConnectionRecord> | null;
};

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
  #routed: Routed | null = null;
  /** How its endpoint is let go; null: nobody has it. */
  #goesTo: GoesTo | null = null;
  /** The endpoint that has it, others that have had it before, and how often any has had it. */
  #at: Endpoint | null = null;
  #tried: readonly Endpoint[] = nobody;
  #attempts = 0;
  /** Tries by its rule's `retry`; and the pause before the next of them is under way. */
  #retries = 0;
  #pauses = false;
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

  judged(decision: DecisionSummary | null, written: string, routed: Routed | null): void {
    this.decision = decision;
    this.written = written;
    this.#routed = routed;
  }

  /** null: it came to no route. */
  get plan(): RequestPlan | null {
    return this.#routed?.plan ?? null;
  }

  get route(): RecordedRoute | null {
    return this.#routed === null ? null : { name: this.#routed.name, answer: this.#routed.answer };
  }

  /** Endpoints that have had it. */
  get tried(): readonly Endpoint[] {
    return this.#tried;
  }

  /** How often it was tried. */
  get attempts(): number {
    return this.#attempts;
  }

  /** How often its rule has had it tried again. */
  get retries(): number {
    return this.#retries;
  }

  /** To this endpoint, until it ends or is tried elsewhere. */
  goes(to: GoesTo): void {
    this.leave(null, null);
    this.#goesTo = to;
    this.#at = to.target;
    this.#attempts += 1;
  }

  /** Nobody could be connected to where it was to go, by no doing of its caller. */
  unreached(): void {
    this.#goesTo?.hold?.unreached();
  }

  /** Nobody has it any more; with what it has shown of its endpoint, or null. */
  leave(sample: RequestSample | null, shows: TryShows | null): void {
    if (this.#goesTo === null) return;
    const { openTo, costs, cost, hold } = this.#goesTo;
    this.#goesTo = null;
    openTo.release();
    costs.end(cost, sample);
    hold?.end(shows);
  }

  /** Its try has failed. */
  tryEnded(sample: RequestSample, shows: TryShows): void {
    this.leave(sample, shows);
    if (this.#at !== null) this.#tried = [...this.#tried, this.#at];
    this.#at = null;
  }

  /** It has a place until it ends. */
  takes(place: RequestPlace | null): void {
    this.#place = place;
  }

  /** It is over, or has become a websocket. */
  ended(sample: RequestSample | null, shows: TryShows | null): void {
    this.leave(sample, shows);
    this.#place?.release();
    this.#place = null;
  }

  /** It is tried again behind a pause. */
  pausesBeforeTry(): void {
    this.#retries += 1;
    this.#pauses = true;
  }

  /** Once for each pause: it is over. */
  takePause(): boolean {
    const pauses = this.#pauses;
    this.#pauses = false;
    return pauses;
  }

  /** Another endpoint has it by now. */
  triedAgain(verdict: RequestVerdict | null, again: Pick<Routed, "plan" | "way">): void {
    if (this.#routed === null) return;
    this.decision = verdict === null ? null : summarize(verdict);
    this.#routed = { ...this.#routed, ...again };
  }

  /** `connection`: what is known of the connection on which it came. */
  recordOf(
    connection: ConnectionRecord,
    ended: RequestEnded,
    { flag, details, refused }: RequestEnding,
  ): RequestRecord {
    const routed = this.#routed;
    return {
      route: this.route,
      connection: routed?.way == null ? connection : { ...connection, ...routed.way },
      method: this.method,
      path: this.path,
      host: this.host,
      id: this.id,
      decision: this.decision,
      attempts: routed === null && isForwarded(ended.outcome) ? 1 : this.#attempts,
      status: ended.status,
      flag,
      details,
      refused,
      requestBytes: ended.requestBytes,
      responseBytes: ended.responseBytes,
      durationUs: ended.durationUs,
    };
  }
}

const isForwarded = (outcome: RequestEnded["outcome"]): boolean => outcome !== "refused" && outcome !== "replied";
