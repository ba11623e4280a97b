// 7, 12 · data thread · a connection of the engine as traffic sees it, from its first event to its only `closed`.
import type { Answer } from "../engine/answers.ts";
import type { Accepted, Closed, ConnRef, RequestEnded, RequestEvent } from "../engine/events.ts";
import { pathOf } from "../l7/words-meaning.ts";
import type { Endpoint } from "../mesh/endpoint.ts";
import type { Workload } from "../mesh/workload.ts";
import { summarize } from "../observe/decision-summary.ts";
import type { ConnectionRecord } from "../observe/record.ts";
import type { OpenRecord, Recorder } from "../observe/recorder.ts";
import type { SeenHttp } from "../observe/request-record.ts";
import { endingOf, type Refusal, statusOf } from "../plan/outcome.ts";
import type { Permission } from "../plan/permission.ts";
import { requestEndingOf, sampleOf, shownBy } from "../plan/request-outcome.ts";
import type { Decision } from "../policy/decision.ts";
import type { RequestVerdict } from "../policy/judge-request.ts";
import type { OpenTo } from "./endpoint-load.ts";
import { OpenRequest } from "./open-request.ts";
import { OpenRequests } from "./open-requests.ts";

const nobody: readonly never[] = [];
/** The answer to a request whose pod or workload has gone. */
const gone = { status: 503, body: "no such pod" } as const;
const ID_LENGTH = 128;
const unread = { method: "", path: "", host: "", id: "" } as const;

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
  /** The connections with which it is judged again, and its place among them. `LiveConnections` writes both. null: it is not open. */
  allowedWith: AllowedAlike | null = null;
  place = 0;
  readonly #recorder: Pick<Recorder, "opened" | "now">;
  #requests: Requests | null = null;
  /** What is known beyond the record: the record opens with it, at the latest when the connection ends. null: nothing. */
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
  get openRequest(): OpenRequest | null {
    return this.#requests?.open.oldest ?? null;
  }

  /** How many are open. */
  get openRequests(): number {
    return this.#requests?.open.size ?? 0;
  }

  openRequestOf(request: number): OpenRequest | null {
    return this.#requests?.open.find(request) ?? null;
  }

  /** Whether a request that was open when `request` was the oldest may still be open. */
  isOpenSince(request: number): boolean {
    const oldest = this.openRequest;
    return oldest !== null && (oldest.request === request || this.#requests?.isMultiplexed === true);
  }

  /** Milliseconds since the oldest open request began; without one it is as old as can be. */
  get requestAgeMs(): number {
    const open = this.#requests?.open.oldest ?? null;
    return open === null ? Infinity : Math.max(0, this.#recorder.now() - open.sinceMs);
  }

  /** A request has come and was judged; null: nobody could be asked. It is open from here on. */
  requested(
    { request, protocol, method, target, authority, fields }: RequestEvent,
    verdict: RequestVerdict | null,
    written: string,
  ): OpenRequest {
    const path = pathOf(target);
    const id = fields.first("x-request-id", ID_LENGTH);
    const open = new OpenRequest({ request, method, path, host: authority, id }, this.#recorder.now());
    open.decision = verdict === null ? null : summarize(verdict);
    open.written = written;
    const requests = this.#read();
    if (protocol === "http2") {
      if (!requests.isMultiplexed) this.speaks("http/2");
      requests.isMultiplexed = true;
      requests.open.add(open);
    } else {
      requests.open.set(open);
    }
    this.#record?.requestBegan(open);
    return open;
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

  /** Several of its requests may be open, and each can be ended by itself: HTTP/2. */
  get isMultiplexed(): boolean {
    return this.#requests?.isMultiplexed === true;
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
    const asked = requests.open.find(request) ?? new OpenRequest({ request, ...unread }, this.#recorder.now());
    if (!requests.isMultiplexed && request <= requests.lastEnded) return;
    requests.lastEnded = request;
    // First, so that whatever the request holds is given back even if making its record fails.
    asked.ended(sampleOf(event), shownBy(event));
    const beside = { asked: this.#ending?.asked ?? null, route: asked.route, tries: asked.flagged(event) };
    const ending = requestEndingOf(event, asked.decision, beside);
    this.#ensureOpened(null);
    // A websocket lives on what its request was allowed.
    if (event.outcome === "upgraded") this.speaks("websocket");
    else requests.open.remove(request);
    const record = asked.recordOf(this.record, event, ending);
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

  /** What open requests and the connection itself have taken elsewhere is given back, whatever becomes of their records. */
  #letGo(): void {
    const { open } = this.#requests ?? {};
    for (const request of open?.numbers() ?? []) open?.find(request)?.ended(null, null);
    this.leaves();
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

  /** Of an outbound connection: the caller, and what it has dialled. */
  get ends(): { readonly source: Endpoint; readonly dialled: Endpoint } {
    const { source, dialled, hbone, destination } = this.record;
    return { source, dialled: dialled ?? hbone ?? destination };
  }

  /** The event with which it began, of an outbound connection that is not established. */
  get accepted(): Accepted {
    const { source, dialled } = this.ends;
    const { podIdx } = this;
    const began = { type: "accepted", listener: "outbound", podIdx, source: endpointOf(source) } as const;
    return { ...began, ...this.ref, destination: endpointOf(dialled) };
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

  /** It is not where it was to go. */
  leaves(): void {
    this.#openTo?.release();
    this.#openTo = null;
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
    this.#letGo();
    if (missing !== null) this.#ending ??= { asked: missing, claimants: nobody, late: null };
    this.#ensureOpened(null);
    this.#endRequests();
    this.#ended = true;
    const { asked = null, claimants = nobody, late: judgedLate = null } = this.#ending ?? {};
    // Where the peer ended the connection first, our later judgement did not end it.
    const late = event.cause === "closed-by-answer" ? judgedLate : null;
    const { reporter, hbone } = this.#ends();
    this.#record?.closed({
      ...endingOf(event, asked, hbone !== null && reporter === "source", claimants),
      sentBytes: event.sentBytes,
      receivedBytes: event.receivedBytes,
      durationUs: event.durationUs,
      ...(late === null ? {} : { decision: summarize(late) }),
    });
  }

  /** What is known of its way. */
  #ends(): Pick<ConnectionRecord, "reporter" | "hbone"> {
    return this.#draft ?? this.#record?.alike ?? this.#known();
  }
}

function endpointOf({ address, port }: Endpoint): Endpoint {
  return { address, port };
}
