// 15 · any thread · one connection's story: opened once, closed once, counted here and nowhere else.
// Main only adds up the numbers that it is handed (`takeDeltas`), so a slow scrape never touches a connection.
import { isDeepStrictEqual } from "node:util";
import type { Endpoint } from "../mesh/endpoint.ts";
import { keptTrace, wholeRecord } from "./alike.ts";
import type { DecisionSummary } from "./decision-summary.ts";
import type { MetricFamily } from "./metric.ts";
import { type Listed, OpenList } from "./open-list.ts";
import type { ConnectionRecord, Outcome } from "./record.ts";
import type { AfterTry, RequestRecord, RequestUnderWay, SeenHttp } from "./request-record.ts";
import { REQUEST_LABEL_SETS, type RequestParties, RequestSeries } from "./request-series.ts";
import type { RowDeltas } from "./row-deltas.ts";
import { type Relation, SeriesTable } from "./series.ts";

export const recordFamilies = {
  decisions: {
    name: "orlop_decisions_total",
    type: "counter",
    unit: "decisions",
    labels: ["verdict", "layer", "reason"],
    help: "Verdicts of the evaluator on real connections",
  },
  dryRunDenied: {
    name: "orlop_dry_run_denied_total",
    type: "counter",
    unit: "decisions",
    labels: ["policy"],
    help: "Connections and requests a dry-run policy would have denied",
  },
  audited: {
    name: "orlop_audited_total",
    type: "counter",
    unit: "decisions",
    labels: ["policy"],
    help: "Connections and requests an AUDIT rule matched",
  },
  overflowed: {
    name: "orlop_series_overflow_total",
    type: "counter",
    unit: "connections",
    labels: [],
    help: 'Connections counted under "other": the label budget is spent',
  },
  httpRefused: {
    name: "orlop_http1_refused_total",
    type: "counter",
    unit: "messages",
    labels: ["message", "reason"],
    help: "Messages that are no acceptable HTTP/1, by the rule that refused them",
  },
  retried: {
    name: "orlop_request_retries_total",
    type: "counter",
    unit: "tries",
    labels: ["failure", "then"],
    help: "Tries of routed requests that failed before their callers got anything, by what became of them",
  },
  mirrored: {
    name: "orlop_mirrored_requests_total",
    type: "counter",
    unit: "copies",
    labels: ["outcome"],
    help: "Copies of requests that a route's RequestMirror asks for, by what became of them",
  },
} as const satisfies Record<string, MetricFamily>;

/** TCP's own measurements: of the connection, or the means of ended ones like it where the kernel keeps only their sums. */
export type Transport = { readonly rttUs: number; readonly retransmits: number };

/** The engine's name of a connection. */
export type ConnectionHandle = { readonly conn: number; readonly generation: number };

/** An open connection as `orlop get connections` sees it. `transport` null: not measured. */
export type OpenConnection = {
  readonly id: string;
  readonly openedAtMs: number;
  readonly record: ConnectionRecord;
  readonly transport: Transport | null;
  readonly http: SeenHttp;
};

export type RecorderOptions = {
  /** Prefix of connection ids: the data thread's number. */
  readonly thread: number;
  /** Most label sets on this thread; connections beyond them count under "other". */
  readonly labelSets: number;
  /** Wall clock, milliseconds. */
  readonly now: () => number;
  /** Measures an open connection for an operator; absent: nothing measures. */
  readonly transport?: (connection: ConnectionHandle, record: ConnectionRecord) => Transport | null;
  /** One access-log entry; called exactly once per connection, at its end. Its whole record is made when it is asked for. */
  readonly log: (
    ended: Pick<OpenRecord, "record" | "alike" | "port" | "traceId">,
    outcome: Outcome,
    atMs: number,
  ) => void;
  /** The same of a request, at its end; absent: nobody writes them. */
  readonly logRequest?: (record: RequestRecord) => void;
};

/** Plain data: crosses to main by structured clone. All numbers are since the last hand-over, but for `open`. */
export type RecordDeltas = RowDeltas & {
  readonly open: number;
  /** Decisions by `<verdict>|<layer>|<reason or "-">`. */
  readonly decisions: Readonly<Record<string, number>>;
  /** Dry-run policies that would have denied, and AUDIT rules that matched, by policy. */
  readonly dryRunDenied: Readonly<Record<string, number>>;
  readonly audited: Readonly<Record<string, number>>;
  readonly requests: RowDeltas;
  /** Messages of HTTP/1 that were refused, by `<message>|<reason>`. */
  readonly httpRefused: Readonly<Record<string, number>>;
  /** Tries that failed, by `<failure>|<then>`. */
  readonly retried: Readonly<Record<string, number>>;
  /** Copies of requests, by what became of them. */
  readonly mirrored: Readonly<Record<string, number>>;
};

/** A caller's text that an operator is shown is no longer. */
const SHOWN_LENGTH = 512;

/** What is kept of a connection that is read. */
type ReadConnection = {
  protocol: SeenHttp["protocol"];
  requests: number;
  underWay: RequestUnderWay | null;
  /** What its requests are counted under; null: it has had none. */
  parties: RequestParties | null;
  /** Its record, which each of its requests refers to; null: none has asked for it. */
  record: ConnectionRecord | null;
};

/** One connection between its opening and its end. All methods may be called at any time; the end counts once. */
export class OpenRecord implements Listed<OpenRecord> {
  readonly serial: number;
  /** Wall clock. */
  readonly openedAtMs: number;
  readonly handle: ConnectionHandle | null;
  /** Where the opening was counted. The recorder writes it. */
  relation: Relation;
  earlier: OpenRecord | null = null;
  later: OpenRecord | null = null;
  /** Null once it has ended. */
  #recorder: Recorder | null;
  #alike: ConnectionRecord;
  #port: number;
  #traceId: string;
  #read: ReadConnection | null = null;

  constructor(
    recorder: Recorder,
    record: ConnectionRecord,
    opening: Pick<OpenRecord, "serial" | "openedAtMs" | "handle" | "relation">,
  ) {
    this.#recorder = recorder;
    this.serial = opening.serial;
    this.openedAtMs = opening.openedAtMs;
    this.handle = opening.handle;
    this.relation = opening.relation;
    this.#alike = opening.relation.alike.of(record);
    this.#port = record.source.port;
    this.#traceId = keptTrace(record.traceId);
  }

  get record(): ConnectionRecord {
    const read = this.#read;
    if (read === null) return wholeRecord(this.#alike, this.#port, this.#traceId);
    read.record ??= wholeRecord(this.#alike, this.#port, this.#traceId);
    return read.record;
  }

  /** The record without the caller's port and the trace: connections that are alike have the same object. */
  get alike(): ConnectionRecord {
    return this.#alike;
  }

  /** The caller's. */
  get port(): number {
    return this.#port;
  }

  get traceId(): string {
    return this.#traceId;
  }

  /** Where it was really dialled to, for logs and tables; whose labels count was settled by the opening. */
  reached({ address, port }: Endpoint): void {
    const { destination } = this.#alike;
    if (destination.address === address && destination.port === port) return;
    this.#keep({ ...this.#alike, destination: { ...destination, address, port } });
  }

  /** It was decided anew before it was connected: it may go elsewhere, and then counts under other labels. */
  changed(record: ConnectionRecord): void {
    const before = this.#alike;
    this.#port = record.source.port;
    this.#traceId = keptTrace(record.traceId);
    this.#recorder?.changed(this, before, record);
    this.#keep(record);
  }

  /** Under the labels of its relation by now. */
  #keep(record: ConnectionRecord): void {
    this.#alike = this.relation.alike.of(record);
    if (this.#read !== null) this.#read.record = null;
  }

  get http(): SeenHttp {
    const { protocol = "tcp", requests = 0, underWay: asked = null } = this.#read ?? {};
    const open = asked && {
      method: asked.method.slice(0, SHOWN_LENGTH),
      path: asked.path.slice(0, SHOWN_LENGTH),
      sinceMs: asked.sinceMs,
    };
    return { protocol, requests, open };
  }

  speaks(protocol: SeenHttp["protocol"]): void {
    this.#reading().protocol = protocol;
  }

  requestBegan(request: RequestUnderWay): void {
    const read = this.#reading();
    read.requests += 1;
    read.underWay = request;
  }

  /** A request on it has ended: counted and logged. `underWay`: another that is open. */
  requested(request: RequestRecord, underWay: RequestUnderWay | null = null): void {
    const read = this.#reading();
    // What is refused before anybody was asked had no beginning.
    if (request.method === "") read.requests += 1;
    read.underWay = underWay;
    read.parties ??= this.#recorder?.partiesOf(this.#alike) ?? null;
    if (read.parties !== null) this.#recorder?.requested(request, read.parties);
  }

  #reading(): ReadConnection {
    this.#read ??= { protocol: "tcp", requests: 0, underWay: null, parties: null, record: null };
    return this.#read;
  }

  /** Counts and logs the end. A second call does nothing: whatever races, a connection ends once. */
  closed(outcome: Outcome): void {
    const recorder = this.#recorder;
    this.#recorder = null;
    recorder?.ended(this, outcome);
  }
}

export class Recorder {
  readonly #options: RecorderOptions;
  readonly #series: SeriesTable;
  readonly #requests: RequestSeries;
  readonly #open = new OpenList<OpenRecord>();
  #serial = 0;
  #decisions = new Map<string, number>();
  #dryRunDenied = new Map<string, number>();
  #audited = new Map<string, number>();
  #httpRefused = new Map<string, number>();
  #retried = new Map<string, number>();
  #mirrored = new Map<string, number>();

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#series = new SeriesTable({ limit: options.labelSets, now: options.now });
    this.#requests = new RequestSeries({ limit: Math.min(options.labelSets, REQUEST_LABEL_SETS), now: options.now });
  }

  /** Counts the opening. Exactly one `closed` on the result must follow. */
  opened(record: ConnectionRecord, handle: ConnectionHandle | null = null): OpenRecord {
    const relation = this.#series.relationOf(record, "-");
    relation.series.opened += 1;
    relation.joined();
    this.#judged(record.decision);
    this.#serial += 1;
    const opening = { serial: this.#serial, openedAtMs: this.#options.now(), handle, relation };
    const open = new OpenRecord(this, record, opening);
    this.#open.add(open);
    return open;
  }

  /** By `OpenRecord.changed`. Under the labels that it had the connection has ended, without a byte and without a failure. */
  changed(open: OpenRecord, before: ConnectionRecord, record: ConnectionRecord): void {
    if (!isDeepStrictEqual(record.decision, before.decision)) this.#judged(record.decision);
    const relation = this.#series.relationOf(record, "-");
    if (relation === open.relation) return;
    if (relation.series !== open.relation.series) {
      open.relation.series.closed += 1;
      relation.series.opened += 1;
    }
    relation.joined();
    open.relation.left();
    open.relation = relation;
  }

  /** By `OpenRecord.closed`, once. */
  ended(open: OpenRecord, outcome: Outcome): void {
    const { alike, relation } = open;
    const { series } = relation;
    this.#open.remove(open);
    relation.left();
    series.closed += 1;
    // Istio's words are the server's: "received" is the request, "sent" is the response, at both reporters.
    series.receivedBytes += outcome.sentBytes;
    series.sentBytes += outcome.receivedBytes;
    if (outcome.flag !== "-") this.#series.of(alike, outcome.flag).failed += 1;
    if (outcome.decision) this.#judged(outcome.decision);
    this.#options.log(open, outcome, this.#options.now());
  }

  partiesOf(record: ConnectionRecord): RequestParties {
    return this.#requests.of(record);
  }

  /** By `OpenRecord.requested`, once for each request. */
  requested(record: RequestRecord, parties: RequestParties): void {
    this.#judged(record.decision);
    this.#requests.count(parties, record);
    const { refused } = record;
    if (refused !== null) count(this.#httpRefused, `${refused.message}|${refused.reason}`);
    this.#options.logRequest?.(record);
  }

  /** A try of a request has failed, and `then` became of it; both of closed lists. */
  retried(failure: string, then: AfterTry): void {
    count(this.#retried, `${failure}|${then}`);
  }

  /** A copy of a request has ended, or was not sent; `outcome` is of closed lists (docs/metrics.md). */
  mirrored(outcome: string): void {
    count(this.#mirrored, outcome);
  }

  /** A connection that was refused before anything was opened: counted as opened, closed and failed, logged once. */
  refused(
    record: ConnectionRecord,
    outcome: Pick<Outcome, "flag" | "cause" | "message" | "durationUs" | "early">,
  ): void {
    this.opened(record).closed({ ...outcome, sentBytes: 0, receivedBytes: 0 });
  }

  /** Open connections, oldest first, at most `limit`. */
  connections(limit: number): readonly OpenConnection[] {
    const list: OpenConnection[] = [];
    for (const open of this.#open) {
      if (list.length >= limit) break;
      const { record, serial, openedAtMs, handle } = open;
      const transport = handle === null ? null : (this.#options.transport?.(handle, record) ?? null);
      list.push({ id: `${this.#options.thread}-${serial}`, openedAtMs, record, transport, http: open.http });
    }
    return list;
  }

  /** Wall clock, milliseconds. */
  now(): number {
    return this.#options.now();
  }

  /** Hands over what was counted since the last call. */
  takeDeltas(): RecordDeltas {
    const deltas = {
      ...this.#series.take(),
      open: this.#open.size,
      decisions: Object.fromEntries(this.#decisions),
      dryRunDenied: Object.fromEntries(this.#dryRunDenied),
      audited: Object.fromEntries(this.#audited),
      requests: this.#requests.take(),
      httpRefused: Object.fromEntries(this.#httpRefused),
      retried: Object.fromEntries(this.#retried),
      mirrored: Object.fromEntries(this.#mirrored),
    };
    this.#decisions = new Map();
    this.#dryRunDenied = new Map();
    this.#audited = new Map();
    this.#httpRefused = new Map();
    this.#retried = new Map();
    this.#mirrored = new Map();
    return deltas;
  }

  #judged(decision: DecisionSummary | null): void {
    if (!decision) return;
    count(this.#decisions, decisionKey(decision));
    for (const policy of decision.dryRunDenied) count(this.#dryRunDenied, policy);
    for (const policy of decision.audited) count(this.#audited, policy);
  }
}

/** Of what is allowed without making a text: most requests are. */
function decisionKey({ verdict, layer, reason }: DecisionSummary): string {
  if (reason === null && verdict === "allow") return layer === "L7" ? "allow|L7|-" : "allow|L4|-";
  return `${verdict}|${layer}|${reason ?? "-"}`;
}

function count(map: Map<string, number>, key: string): void {
  map.set(key, (map.get(key) ?? 0) + 1);
}
