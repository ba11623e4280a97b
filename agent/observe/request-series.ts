// data thread · counts, times and sizes of requests by Istio's labels: one row of numbers for each label set, handed over to the main
// thread when it has changed. A request costs a few additions and no memory.
import type { MetricFamily } from "./metric.ts";
import type { ConnectionRecord } from "./record.ts";
import { type RequestFlag, type RequestRecord, requestFlags } from "./request-record.ts";
import { freshOf, IdleRows, type RowDeltas } from "./row-deltas.ts";
import { asOverflow, labelsOf, otherValue, trafficLabels } from "./series.ts";

/**
 * Istio's traffic labels, the status that the caller was answered with (0: none), and of a call of gRPC its own status: empty where it ended
 * without, as of what is no call.
 */
export const requestLabels = [...trafficLabels, "response_code", "grpc_response_status"] as const;

/** Upper bounds of Istio's histograms, which are Envoy's (istio:pkg/bootstrap). Values are milliseconds or bytes. */
export const requestBounds = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
  3_600_000,
] as const;
/** Of a histogram in a row: a count for each bound and for what is above all of them, then the sum of the values. */
export const histogramWidth = requestBounds.length + 2;

const ofRequests = { labels: requestLabels } as const;
export const requestFamilies = {
  total: {
    ...ofRequests,
    name: "istio_requests_total",
    type: "counter",
    unit: "requests",
    help: "Requests of HTTP/1.1 and HTTP/2, calls of gRPC among them, on connections that policy or routes have read, refused ones included",
  },
  duration: {
    ...ofRequests,
    name: "istio_request_duration_milliseconds",
    type: "histogram",
    unit: "milliseconds",
    help: "From the first byte of a request to the end of its response",
  },
  requestBytes: {
    ...ofRequests,
    name: "istio_request_bytes",
    type: "histogram",
    unit: "bytes",
    help: "Bodies of requests, without what frames them",
  },
  responseBytes: {
    ...ofRequests,
    name: "istio_response_bytes",
    type: "histogram",
    unit: "bytes",
    help: "Bodies of responses, without what frames them",
  },
  overflowed: {
    name: "orlop_request_series_overflow_total",
    type: "counter",
    unit: "requests",
    labels: [],
    help: 'Requests counted under "other": the label budget is spent',
  },
} as const satisfies Record<string, MetricFamily>;

/** In the order in which a row has them. */
export const requestHistograms = [
  requestFamilies.duration,
  requestFamilies.requestBytes,
  requestFamilies.responseBytes,
] as const;
export const requestRowWidth = requestHistograms.length * histogramWidth;

/** Connections that no label of their requests tells apart, and the rows of their requests by `codeOf`. */
export type RequestParties = {
  readonly labels: readonly string[];
  readonly rows: Map<number, RequestRow>;
  readonly isOverflow: boolean;
};

type RequestRow = {
  readonly id: number;
  readonly labels: readonly string[];
  readonly parties: RequestParties;
  readonly code: number;
  /** Where its numbers lie, in rows. */
  readonly slot: number;
  isChanged: boolean;
  usedAtMs: number;
};

/** Most label sets of a thread and of the page, on which each takes 66 lines for its histograms. */
export const REQUEST_LABEL_SETS = 1_000;
/** Statuses of which the same parties have rows of their own: an application may answer with any number. */
const MOST_CODES = 32;
const FIRST_SLOTS = 16;
/** In the place of a status. */
const OTHER_STATUS = -1;

export class RequestSeries {
  readonly #limit: number;
  readonly #now: () => number;
  readonly #parties = new Map<string, RequestParties>();
  readonly #rows = new Set<RequestRow>();
  #values = new Float64Array(FIRST_SLOTS * requestRowWidth);
  readonly #freeSlots: number[] = [];
  #slots = 0;
  #nextId = 0;
  #changed: RequestRow[] = [];
  #fresh: RequestRow[] = [];
  #overflowed = 0;
  readonly #idle: IdleRows;

  /** @param limit most label sets; requests beyond them count under "other" */
  constructor({ limit, now }: { readonly limit: number; readonly now: () => number }) {
    this.#limit = limit;
    this.#now = now;
    this.#idle = new IdleRows(now());
  }

  /** Asked once for each connection: what its requests are counted under. */
  of(connection: ConnectionRecord): RequestParties {
    // Requests are read where they arrive, also between two pods of one node.
    return this.#partiesOf(labelsOf({ ...connection, reporter: "destination" }, "-").map(asHttp), false);
  }

  count(
    parties: RequestParties,
    {
      status,
      grpcStatus,
      flag,
      durationUs,
      requestBytes,
      responseBytes,
    }: Pick<RequestRecord, "status" | "grpcStatus" | "flag" | "durationUs" | "requestBytes" | "responseBytes">,
  ): void {
    const row = parties.rows.get(codeOf(status, flag, grpcStatus)) ?? this.#rowOf(parties, status, flag, grpcStatus);
    if (!row.isChanged) {
      row.isChanged = true;
      this.#changed.push(row);
    }
    const at = row.slot * requestRowWidth;
    this.#add(at, durationUs / 1_000);
    this.#add(at + histogramWidth, requestBytes);
    this.#add(at + 2 * histogramWidth, responseBytes);
  }

  /** Hands over what was counted since the last call: rows of `requestRowWidth` numbers. */
  take(): RowDeltas {
    const now = this.#now();
    const rows = new Float64Array(this.#changed.length * (requestRowWidth + 1));
    this.#changed.forEach((row, index) => {
      const [from, to] = [row.slot * requestRowWidth, index * (requestRowWidth + 1)];
      rows[to] = row.id;
      rows.set(this.#values.subarray(from, from + requestRowWidth), to + 1);
      this.#values.fill(0, from, from + requestRowWidth);
      row.isChanged = false;
      row.usedAtMs = now;
    });
    const fresh = freshOf(this.#fresh);
    const overflowed = this.#overflowed;
    this.#changed = [];
    this.#fresh = [];
    this.#overflowed = 0;
    return { fresh, rows, dropped: this.#sweep(now), overflowed };
  }

  #add(at: number, value: number): void {
    let bucket = 0;
    while (value > (requestBounds[bucket] ?? Number.POSITIVE_INFINITY)) bucket += 1;
    const values = this.#values;
    values[at + bucket] = (values[at + bucket] ?? 0) + 1;
    values[at + histogramWidth - 1] = (values[at + histogramWidth - 1] ?? 0) + value;
  }

  #partiesOf(labels: readonly string[], isOverflow: boolean): RequestParties {
    const text = labels.join("\u0000");
    const known = this.#parties.get(text);
    if (known !== undefined) return known;
    const parties = { labels, rows: new Map<number, RequestRow>(), isOverflow };
    // Rows alone have a budget: parties without rows are in the table no longer than they are asked for.
    if (this.#parties.size >= 2 * this.#limit)
      for (const [key, { rows }] of this.#parties) if (rows.size === 0) this.#parties.delete(key);
    this.#parties.set(text, parties);
    return parties;
  }

  /** A row that is not there yet, or a row of others when there is no room for it. */
  #rowOf(parties: RequestParties, status: number, flag: RequestFlag, grpcStatus: number | undefined): RequestRow {
    const code = codeOf(status, flag, grpcStatus);
    if (status !== OTHER_STATUS && parties.rows.size >= MOST_CODES) {
      const other = codeOf(OTHER_STATUS, flag, undefined);
      return parties.rows.get(other) ?? this.#rowOf(parties, OTHER_STATUS, flag, undefined);
    }
    if (this.#rows.size >= this.#limit && !parties.isOverflow) {
      this.#overflowed += 1;
      const others = this.#partiesOf(parties.labels.map(asOverflow), true);
      return others.rows.get(code) ?? this.#rowOf(others, status, flag, grpcStatus);
    }
    this.#nextId += 1;
    const isCall = grpcStatus !== undefined;
    const labels = parties.labels.map((value, index) => {
      if (requestLabels[index] === "request_protocol" && isCall) return "grpc";
      return requestLabels[index] === "response_flags" ? flag : value;
    });
    const ofCall = isCall && grpcStatus >= 0 ? String(grpcStatus) : "";
    const row: RequestRow = {
      id: this.#nextId,
      labels: [...labels, status === OTHER_STATUS ? otherValue : String(status), ofCall],
      parties,
      code,
      slot: this.#freeSlots.pop() ?? this.#newSlot(),
      isChanged: false,
      usedAtMs: this.#now(),
    };
    parties.rows.set(row.code, row);
    this.#rows.add(row);
    this.#fresh.push(row);
    return row;
  }

  #newSlot(): number {
    const slot = this.#slots;
    this.#slots += 1;
    if (this.#slots * requestRowWidth > this.#values.length) {
      const values = new Float64Array(2 * this.#values.length);
      values.set(this.#values);
      this.#values = values;
    }
    return slot;
  }

  #sweep(now: number): readonly number[] {
    const dropped: number[] = [];
    for (const row of this.#idle.of(this.#rows, now)) {
      this.#rows.delete(row);
      row.parties.rows.delete(row.code);
      this.#freeSlots.push(row.slot);
      dropped.push(row.id);
    }
    return dropped;
  }
}

/** Of a status of gRPC, of a call without it, and of what is no call. */
const GRPC_CODES = 19;

/** One number for a status, a flag, and what a call of gRPC has come to. */
function codeOf(status: number, flag: RequestFlag, grpcStatus: number | undefined): number {
  return (status * requestFlags.length + requestFlags.indexOf(flag)) * GRPC_CODES + (grpcStatus ?? -2) + 2;
}

function asHttp(value: string, index: number): string {
  return trafficLabels[index] === "request_protocol" ? "http" : value;
}
