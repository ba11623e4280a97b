// 7, 12 · data thread · a connection of the engine as traffic sees it, from its first event to its only `closed`.
import type { Answer } from "../engine/answers.ts";
import type { Accepted, Closed, ConnRef, RequestEnded, RequestEvent } from "../engine/events.ts";
import { pathOf } from "../l7/request-facts.ts";
import type { Endpoint } from "../mesh/endpoint.ts";
import type { Workload } from "../mesh/workload.ts";
import { summarize } from "../observe/decision-summary.ts";
import type { ConnectionRecord } from "../observe/record.ts";
import type { OpenRecord, Recorder } from "../observe/recorder.ts";
import type { RequestRecord, SeenHttp } from "../observe/request-record.ts";
import { endingOf, type Refusal, statusOf } from "../plan/outcome.ts";
import type { RequestSample } from "../plan/peak-ewma.ts";
import type { Permission } from "../plan/permission.ts";
import type { RequestPlan } from "../plan/plan-request.ts";
import { requestEndingOf, sampleOf } from "../plan/request-outcome.ts";
import type { Decision } from "../policy/decision.ts";
import type { RequestVerdict } from "../policy/judge-request.ts";
import type { EndpointCost, EndpointCosts } from "./endpoint-costs.ts";
import type { OpenTo } from "./endpoint-load.ts";
import { OpenRequests } from "./open-requests.ts";

const nobody: readonly never[] = [];
/** To a request whose pod or workload has gone. */
const gone = { status: 503, body: "no such pod" } as const;

/** A request of a connection that is read. */
type OpenRequest = Pick<RequestRecord, "method" | "path" | "host" | "id"> & {
  readonly request: number;
  readonly sinceMs: number;
  /** The target in whose place another went on; empty: what was sent. */
  readonly written: string;
  decision: RequestRecord["decision"];
  routed: Routed | null;
  /** How its endpoint is let go; null: nobody has it. */
  goesTo: GoesTo | null;
  /** The endpoint that has it, others that have had it before, and how often any has had it. */
  at: Endpoint | null;
  tried: readonly Endpoint[];
  attempts: number;
  /** Tries by its rule's `retry`; and the pause before the next of them is under way. */
  retries: number;
  pauses: boolean;
};
const unread: Omit<OpenRequest, "request" | "sinceMs" | "written"> = {
  ...{
    method: "",
    path: "",
    host: "",
    id: "",
    decision: null,
    routed: null,
    goesTo: null,
    at: null,
    tried: [],
    attempts: 0,
    retries: 0,
    pauses: false,
  },
};

/** What became of a request at the caller's end. `way`: what of the connection's record is this request's own. */
type Routed = NonNullable<RequestRecord["route"]> & {
  readonly plan: RequestPlan;
  readonly way: Partial<ConnectionRecord> | null;
};
const ID_LENGTH = 128;

/** Where a request is, and what counts it there. `end` is called once; with what it has shown of the endpoint, or null. */
export type GoesTo = {
  readonly target: Endpoint;
  readonly openTo: OpenTo;
  readonly cost: EndpointCost;
  readonly costs: Pick<EndpointCosts, "end">;
};

function leave({ openTo, cost, costs }: GoesTo, sample: RequestSample | null): void {
  openTo.release();
  costs.end(cost, sample);
}

/** Connections that no rule can tell apart: one judgement serves them all. */
export type AllowedAlike = { readonly key: string; readonly permission: Permission; readonly members: Connection[] };

/** What is kept of a connection that is read. */
type Requests = {
  /** Each of its requests goes where its route says. */
  isServed: boolean;
  /** Those that are open, or that have turned the connection into a websocket. */
  readonly open: OpenRequests<OpenRequest>;
  /** HTTP/2: requests are answered in any order, and each can be ended by itself. */
  isMultiplexed: boolean;
  /** Requests of HTTP/1 are numbered in the order in which they end. */
  lastEnded: number;
};

/** Why it is to end. */
type WhyItEnds = { readonly asked: Refusal; readonly claimants: readonly Workload[]; readonly late: Decision | null };

/** A node holds a hundred thousand of these that do nothing: what only some of them need is an object that the others lack. */
export class Connection {
  readonly conn: number;
  readonly generation: number;
  readonly podIdx: number;
  /** Whom it is judged again with, and its place among those. `LiveConnections` writes both. null: it is not open. */
  allowedWith: AllowedAlike | null = null;
  place = 0;
  readonly #recorder: Pick<Recorder, "opened" | "now">;
  #requests: Requests | null = null;
  /** What is known better than by the record, which opens with it, at the latest when the connection ends. null: nothing. */
  #draft: ConnectionRecord | null;
  #record: OpenRecord | null = null;
  #ending: WhyItEnds | null = null;
  #openTo: OpenTo | null = null;
  #ended = false;

  constructor(ref: ConnRef, draft: ConnectionRecord, recorder: Pick<Recorder, "opened" | "now">) {
    this.conn = ref.conn;
    this.generation = ref.generation;
    this.podIdx = draft.podIdx;
    this.#draft = draft;
    this.#recorder = recorder;
  }

  get ref(): ConnRef {
    return { conn: this.conn, generation: this.generation };
  }

  /** The oldest that is open. */
  get openRequest(): Pick<OpenRequest, "request" | "written"> | null {
    return this.#requests?.open.oldest ?? null;
  }

  openRequestOf(request: number): Pick<OpenRequest, "request" | "written"> | null {
    return this.#requests?.open.find(request) ?? null;
  }

  /** Something that was open when `request` was the oldest may be open still. */
  isOpenSince(request: number): boolean {
    const oldest = this.openRequest;
    return oldest !== null && (oldest.request === request || this.#requests?.isMultiplexed === true);
  }

  /** Milliseconds since the oldest open request began; without one it is as old as can be. */
  get requestAgeMs(): number {
    const open = this.#requests?.open.oldest ?? null;
    return open === null ? Infinity : Math.max(0, this.#recorder.now() - open.sinceMs);
  }

  /** A request has come and was judged; null: nobody could be asked. */
  requested(
    { request, protocol, method, target, authority, fields }: RequestEvent,
    verdict: RequestVerdict | null,
    written: string,
    routed: Routed | null = null,
  ): void {
    const path = pathOf(target);
    const summary = verdict === null ? null : summarize(verdict);
    const sinceMs = this.#recorder.now();
    const id = fields.first("x-request-id", ID_LENGTH);
    // Written out, since a request each comes by here and a spread costs several times as much.
    const open: OpenRequest = {
      request,
      sinceMs,
      written,
      method,
      path,
      host: authority,
      id,
      decision: summary,
      routed,
      goesTo: null,
      at: null,
      tried: nobody,
      attempts: 0,
      retries: 0,
      pauses: false,
    };
    const requests = this.#read();
    if (protocol === "http2") {
      if (!requests.isMultiplexed) this.speaks("http/2");
      requests.isMultiplexed = true;
      requests.open.add(open);
    } else {
      requests.open.set(open);
    }
    this.#record?.requestBegan(open);
  }

  #read(): Requests {
    this.#requests ??= { isServed: false, open: new OpenRequests(), isMultiplexed: false, lastEnded: 0 };
    return this.#requests;
  }

  /** Nothing is dialled for the connection: each of its requests goes where its route says. */
  served(): void {
    this.#read().isServed = true;
  }

  get isServed(): boolean {
    return this.#requests?.isServed === true;
  }

  /** Of the open request of a served connection. */
  get openPlan(): RequestPlan | null {
    return this.#requests?.open.oldest?.routed?.plan ?? null;
  }

  /** To this endpoint, until it ends or is tried elsewhere. */
  requestGoesTo(goesTo: GoesTo): void {
    const open = this.#requests?.open.oldest ?? null;
    if (open === null) {
      leave(goesTo, null);
      return;
    }
    if (open.goesTo !== null) leave(open.goesTo, null);
    open.goesTo = goesTo;
    open.at = goesTo.target;
    open.attempts += 1;
  }

  /** Of the open request of a served connection: endpoints that have had it. */
  get tried(): readonly Endpoint[] {
    return this.#requests?.open.oldest?.tried ?? nobody;
  }

  /** How often it was tried. */
  get attempts(): number {
    return this.#requests?.open.oldest?.attempts ?? 0;
  }

  /** Of the open request of a served connection: how often its rule has had it tried again. */
  get retries(): number {
    return this.#requests?.open.oldest?.retries ?? 0;
  }

  /** Its try has failed: nobody has it any more. */
  tryEnded(sample: RequestSample | null): void {
    const open = this.#requests?.open.oldest ?? null;
    if (open === null) return;
    if (open.goesTo !== null) leave(open.goesTo, sample);
    open.goesTo = null;
    if (open.at !== null) open.tried = [...open.tried, open.at];
    open.at = null;
  }

  /** It is tried again behind a pause. */
  pausesBeforeTry(): void {
    const open = this.#requests?.open.oldest ?? null;
    if (open === null) return;
    open.retries += 1;
    open.pauses = true;
  }

  /** Once for each pause: it is over. */
  takePause(): boolean {
    const open = this.#requests?.open.oldest ?? null;
    if (open?.pauses !== true) return false;
    open.pauses = false;
    return true;
  }

  /** Another endpoint has the open request by now. */
  triedAgain(verdict: RequestVerdict | null, again: Pick<Routed, "plan" | "way">): void {
    const open = this.#requests?.open.oldest ?? null;
    if (open?.routed == null) return;
    open.decision = verdict === null ? null : summarize(verdict);
    open.routed = { ...open.routed, ...again };
  }

  /**
   * A request that went on, or the websocket that it has become, is no longer allowed: its record names the later verdict. A request of
   * HTTP/1 takes its connection along.
   */
  requestFell(request: number, verdict: RequestVerdict | null): Answer {
    const open = this.#requests?.open.find(request) ?? null;
    if (open !== null && verdict !== null) open.decision = summarize(verdict);
    if (this.#requests?.isMultiplexed !== true) return this.cut("policy", null);
    const { status, body } = verdict?.verdict === "deny" ? verdict.answer : gone;
    return { type: "reply", ...this.ref, request, status, body };
  }

  /** Of a connection that is read: what its application speaks, as far as is known. */
  speaks(protocol: SeenHttp["protocol"]): void {
    this.#record?.speaks(protocol);
  }

  /** The engine's last word on a request. A second word on the same does nothing. */
  requestEnded(event: RequestEnded): void {
    const { request } = event;
    const requests = this.#read();
    const asked = requests.open.find(request) ?? unread;
    if (!requests.isMultiplexed && request <= requests.lastEnded) return;
    requests.lastEnded = request;
    const { routed } = asked;
    const route = routed === null ? null : { name: routed.name, answer: routed.answer };
    const ended = { asked: this.#ending?.asked ?? null, route };
    const { flag, details, refused } = requestEndingOf(event, asked.decision, ended);
    if (asked.goesTo !== null) leave(asked.goesTo, sampleOf(event));
    asked.goesTo = null;
    this.#ensureOpened(null);
    // A websocket lives on what its request was allowed.
    if (event.outcome === "upgraded") this.speaks("websocket");
    else requests.open.remove(request);
    const record: RequestRecord = {
      route,
      connection: routed?.way == null ? this.record : { ...this.record, ...routed.way },
      method: asked.method,
      path: asked.path,
      host: asked.host,
      id: asked.id,
      decision: asked.decision,
      attempts: routed === null && isForwarded(event.outcome) ? 1 : asked.attempts,
      status: event.status,
      flag,
      details,
      refused,
      requestBytes: event.requestBytes,
      responseBytes: event.responseBytes,
      durationUs: event.durationUs,
    };
    this.#record?.requested(record, event.outcome === "upgraded" ? null : requests.open.oldest);
  }

  /** The engine tells the end of each request before that of its connection; where it has not, the record is still owed. */
  #endRequests(): void {
    const { open, isMultiplexed = false, lastEnded = 0 } = this.#requests ?? {};
    const nothing = {
      status: 0,
      refusal: "none",
      requestBytes: 0,
      responseBytes: 0,
      durationUs: 0,
      answeredUs: 0,
    } as const;
    const { conn, generation } = this.ref;
    for (const request of open?.numbers() ?? []) {
      if (!isMultiplexed && request <= lastEnded) continue;
      const event = { type: "request-ended", conn, generation, podIdx: this.podIdx, request } as const;
      this.requestEnded({ ...event, outcome: "cut", ...nothing });
    }
  }

  get record(): ConnectionRecord {
    return this.#record?.record ?? this.#known();
  }

  /** The newest of what is known. */
  #known(): ConnectionRecord {
    const known = this.#draft ?? this.#record?.record;
    if (known === undefined) throw new Error("a connection has neither a record nor a draft");
    return known;
  }

  /** What is known by now; kept as a draft, since the record's labels are fixed by its opening. */
  describe(known: Partial<ConnectionRecord>): void {
    this.#draft = { ...this.#known(), ...known };
  }

  /** The event with which it began, of an outbound connection that is not established. */
  get accepted(): Accepted {
    const { podIdx, source, dialled, hbone, destination } = this.record;
    const began = { type: "accepted", listener: "outbound", podIdx, source: endpointOf(source) } as const;
    return { ...began, ...this.ref, destination: dialled ?? hbone ?? endpointOf(destination) };
  }

  /**
   * The decision is made: the record opens with it. Made anew, because the peer could not be reached: the record changes with it.
   * `openTo` is released once: at the end, or when the decision is made anew.
   */
  opened(decision: Decision | null, openTo: OpenTo | null = null): void {
    if (this.#ended) {
      openTo?.release();
      return;
    }
    this.#openTo?.release();
    this.#openTo = openTo;
    if (this.#record === null) {
      this.#ensureOpened(decision);
      return;
    }
    const draft = { ...this.#known(), decision: decision === null ? null : summarize(decision) };
    this.#record.changed(draft);
    this.#draft = null;
  }

  #ensureOpened(decision: Decision | null): void {
    if (this.#record !== null || this.#ended) return;
    const draft = { ...this.#known(), decision: decision === null ? null : summarize(decision) };
    this.#record = this.#recorder.opened(draft, this);
    this.#draft = null;
  }

  /**
   * Why it will end: the engine's `closed` with cause "refused" means this.
   * @param claimants the workloads of an `address-conflict`
   */
  refuse(refusal: Refusal, decision: Decision | null, claimants: readonly Workload[] = nobody): Answer {
    if (decision === null) this.#ensureOpened(null);
    else this.opened(decision);
    this.#ending = { asked: refusal, claimants, late: this.#ending?.late ?? null };
    return { type: "refuse", ...this.ref, status: statusOf(refusal) };
  }

  /** A later judgement ends it; `decision` replaces the first decision in the log line. */
  cut(refusal: Refusal, decision: Decision | null): Answer {
    this.#ending = { asked: refusal, claimants: this.#ending?.claimants ?? nobody, late: decision };
    return { type: "close", ...this.ref };
  }

  /** The far side is connected: `upstream` is what was really dialled. */
  established(upstream: Endpoint): void {
    // Of a CONNECT the record keeps the tunnel's address; the application's is its `hbone`.
    const { reporter, hbone } = this.#ends();
    if (reporter === "destination" && hbone !== null) return;
    this.#record?.reached(upstream);
  }

  /** The engine's last word; `missing`: what the answer still waited for. A second call does nothing. */
  closed(event: Closed, missing: Refusal | null): void {
    if (this.#ended) return;
    if (missing !== null) this.#ending ??= { asked: missing, claimants: nobody, late: null };
    this.#ensureOpened(null);
    this.#endRequests();
    this.#ended = true;
    const { asked = null, claimants = nobody, late: judgedLate = null } = this.#ending ?? {};
    // A peer that ended it first was not cut by us, whatever we had asked for.
    const late = event.cause === "closed-by-answer" ? judgedLate : null;
    const { reporter, hbone } = this.#ends();
    this.#record?.closed({
      ...endingOf(event, asked, hbone !== null && reporter === "source", claimants),
      sentBytes: event.sentBytes,
      receivedBytes: event.receivedBytes,
      durationUs: event.durationUs,
      ...(late === null ? {} : { decision: summarize(late) }),
    });
    this.#openTo?.release();
    this.#openTo = null;
  }

  /** What is known of its way. */
  #ends(): Pick<ConnectionRecord, "reporter" | "hbone"> {
    return this.#draft ?? this.#record?.alike ?? this.#known();
  }
}

const isForwarded = (outcome: RequestEnded["outcome"]): boolean => outcome !== "refused" && outcome !== "replied";

function endpointOf({ address, port }: Endpoint): Endpoint {
  return { address, port };
}
