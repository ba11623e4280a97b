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
import { requestEndingOf } from "../plan/request-outcome.ts";
import type { Decision } from "../policy/decision.ts";
import type { RequestVerdict } from "../policy/judge-request.ts";

const nobody: readonly never[] = [];

/** The request of a connection that is read: one at a time. */
type OpenRequest = Pick<RequestRecord, "method" | "path" | "host" | "id"> & {
  readonly request: number;
  readonly sinceMs: number;
  /** The target in whose place another went on; empty: what was sent. */
  readonly written: string;
  decision: RequestRecord["decision"];
};
const unread: Omit<OpenRequest, "request" | "sinceMs" | "written"> = {
  ...{ method: "", path: "", host: "", id: "", decision: null },
};
const ID_LENGTH = 128;

export class Connection {
  readonly ref: ConnRef;
  readonly podIdx: number;
  readonly #recorder: Pick<Recorder, "opened" | "now">;
  /** A request that is open, or that has turned the connection into a websocket. */
  #openRequest: OpenRequest | null = null;
  /** Requests are numbered in the order in which they end. */
  #lastEnded = 0;
  /** The record while nothing better is known; opened at the latest when the connection ends. */
  #draft: ConnectionRecord;
  #record: OpenRecord | null = null;
  #asked: Refusal | null = null;
  #claimants: readonly Workload[] = nobody;
  #late: Decision | null = null;
  #release: (() => void) | null = null;
  #ended = false;

  constructor(ref: ConnRef, draft: ConnectionRecord, recorder: Pick<Recorder, "opened" | "now">) {
    this.ref = { conn: ref.conn, generation: ref.generation };
    this.podIdx = draft.podIdx;
    this.#draft = draft;
    this.#recorder = recorder;
  }

  get openRequest(): Pick<OpenRequest, "request" | "written"> | null {
    return this.#openRequest;
  }

  /** Milliseconds since the open request began; without one it is as old as can be. */
  get requestAgeMs(): number {
    return this.#openRequest === null ? Infinity : Math.max(0, this.#recorder.now() - this.#openRequest.sinceMs);
  }

  /** A request has come and was judged; null: nobody could be asked. */
  requested(
    { request, method, target, authority, fields }: RequestEvent,
    verdict: RequestVerdict | null,
    written: string,
  ): void {
    const path = pathOf(target);
    const summary = verdict === null ? null : summarize(verdict);
    const sinceMs = this.#recorder.now();
    const id = fields.first("x-request-id", ID_LENGTH);
    this.#openRequest = { request, sinceMs, written, method, path, host: authority, id, decision: summary };
    this.#record?.requestBegan(this.#openRequest);
  }

  /** The request that is open, or the websocket that it has become, is no longer allowed: its record names the later verdict. */
  requestFell(verdict: RequestVerdict | null): Answer {
    if (this.#openRequest !== null && verdict !== null) this.#openRequest.decision = summarize(verdict);
    return this.cut("policy", null);
  }

  /** Of a connection that is read: what its application speaks, as far as is known. */
  speaks(protocol: SeenHttp["protocol"]): void {
    this.#record?.speaks(protocol);
  }

  /** The engine's last word on a request. A second word on the same does nothing. */
  requestEnded(event: RequestEnded): void {
    const { request } = event;
    if (request <= this.#lastEnded) return;
    this.#lastEnded = request;
    const asked = this.#openRequest?.request === request ? this.#openRequest : unread;
    const { flag, details, refused } = requestEndingOf(event, asked.decision, this.#asked);
    this.#ensureOpened(null);
    this.#record?.requested({
      connection: this.record,
      method: asked.method,
      path: asked.path,
      host: asked.host,
      id: asked.id,
      decision: asked.decision,
      status: event.status,
      flag,
      details,
      refused,
      requestBytes: event.requestBytes,
      responseBytes: event.responseBytes,
      durationUs: event.durationUs,
    });
    // A websocket lives on what its request was allowed.
    if (event.outcome === "upgraded") this.speaks("websocket");
    else this.#openRequest = null;
  }

  /** The engine tells the end of each request before that of its connection; where it has not, the record is still owed. */
  #endRequest(): void {
    const open = this.#openRequest;
    if (open === null || open.request <= this.#lastEnded) return;
    const nothing = { status: 0, refusal: "none", requestBytes: 0, responseBytes: 0, durationUs: 0 } as const;
    const { conn, generation } = this.ref;
    const event = { type: "request-ended", conn, generation, podIdx: this.podIdx, request: open.request } as const;
    this.requestEnded({ ...event, outcome: "cut", ...nothing });
  }

  get record(): ConnectionRecord {
    return this.#record?.record ?? this.#draft;
  }

  /** What is known by now; kept as a draft, since the record's labels are fixed by its opening. */
  describe(known: Partial<ConnectionRecord>): void {
    this.#draft = { ...this.#draft, ...known };
  }

  /** The event with which it began, of an outbound connection that is not established. */
  get accepted(): Accepted {
    const { podIdx, source, dialled, hbone, destination } = this.record;
    const began = { type: "accepted", listener: "outbound", podIdx, source: endpointOf(source) } as const;
    return { ...began, ...this.ref, destination: dialled ?? hbone ?? endpointOf(destination) };
  }

  /**
   * The decision is made: the record opens with it. Made anew, because the peer could not be reached: the record changes with it.
   * `release` is called once: at the end, or when the decision is made anew.
   */
  opened(decision: Decision | null, release: (() => void) | null = null): void {
    if (this.#ended) {
      release?.();
      return;
    }
    this.#release?.();
    this.#release = release;
    if (this.#record === null) {
      this.#ensureOpened(decision);
      return;
    }
    this.describe({ decision: decision === null ? null : summarize(decision) });
    this.#record.changed(this.#draft);
  }

  #ensureOpened(decision: Decision | null): void {
    if (this.#record !== null || this.#ended) return;
    this.describe({ decision: decision === null ? null : summarize(decision) });
    this.#record = this.#recorder.opened(this.#draft, this.ref);
  }

  /**
   * Why it will end: the engine's `closed` with cause "refused" means this.
   * @param claimants the workloads of an `address-conflict`
   */
  refuse(refusal: Refusal, decision: Decision | null, claimants: readonly Workload[] = nobody): Answer {
    if (decision === null) this.#ensureOpened(null);
    else this.opened(decision);
    this.#asked = refusal;
    this.#claimants = claimants;
    return { type: "refuse", ...this.ref, status: statusOf(refusal) };
  }

  /** A later judgement ends it; `decision` replaces the first decision in the log line. */
  cut(refusal: Refusal, decision: Decision | null): Answer {
    this.#asked = refusal;
    this.#late = decision;
    return { type: "close", ...this.ref };
  }

  /** The far side is connected: `upstream` is what was really dialled. */
  established(upstream: Endpoint): void {
    // Of a CONNECT the record keeps the tunnel's address; the application's is its `hbone`.
    if (this.#draft.reporter === "destination" && this.#draft.hbone !== null) return;
    this.#record?.reached(upstream);
  }

  /** The engine's last word; `missing`: what the answer still waited for. A second call does nothing. */
  closed(event: Closed, missing: Refusal | null): void {
    if (this.#ended) return;
    this.#asked ??= missing;
    this.#ensureOpened(null);
    this.#endRequest();
    this.#ended = true;
    // A peer that ended it first was not cut by us, whatever we had asked for.
    const late = event.cause === "closed-by-answer" ? this.#late : null;
    this.#record?.closed({
      ...endingOf(event, this.#asked, this.#draft.hbone !== null && this.#draft.reporter === "source", this.#claimants),
      sentBytes: event.sentBytes,
      receivedBytes: event.receivedBytes,
      durationUs: event.durationUs,
      ...(late === null ? {} : { decision: summarize(late) }),
    });
    this.#release?.();
    this.#release = null;
  }
}

function endpointOf({ address, port }: Endpoint): Endpoint {
  return { address, port };
}
