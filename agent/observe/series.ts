// data thread · label sets of the traffic metrics, interned and budgeted: beyond the budget one overflow series counts on.
import type { Workload } from "../mesh/workload.ts";
import { AlikeRecords } from "./alike.ts";
import type { MetricFamily } from "./metric.ts";
import type { ConnectionRecord, Party, ResponseFlag } from "./record.ts";
import { freshOf, IdleRows, type RowDeltas } from "./row-deltas.ts";

/** Istio's traffic labels, in this order everywhere (docs/reference/hbone.md#metrics-and-access-log). */
export const trafficLabels = [
  "reporter",
  "source_workload",
  "source_canonical_service",
  "source_canonical_revision",
  "source_workload_namespace",
  "source_principal",
  "source_app",
  "source_version",
  "source_cluster",
  "source_region",
  "source_zone",
  "destination_service",
  "destination_service_namespace",
  "destination_service_name",
  "destination_workload",
  "destination_canonical_service",
  "destination_canonical_revision",
  "destination_workload_namespace",
  "destination_principal",
  "destination_app",
  "destination_version",
  "destination_cluster",
  "destination_region",
  "destination_zone",
  "request_protocol",
  "response_flags",
  "connection_security_policy",
] as const;

export type TrafficLabels = Readonly<Record<(typeof trafficLabels)[number], string>>;

/** Values of one label set change together: one row of this per series in a hand-over. */
export const seriesValues = ["opened", "closed", "failed", "sentBytes", "receivedBytes"] as const;

const counted = { type: "counter", unit: "connections", labels: trafficLabels } as const;
export const seriesFamilies = {
  opened: {
    ...counted,
    name: "istio_tcp_connections_opened_total",
    help: "Connections begun, refused ones included",
  },
  closed: {
    ...counted,
    name: "istio_tcp_connections_closed_total",
    help: "Connections ended, refused ones included",
  },
  failed: {
    ...counted,
    name: "istio_tcp_connections_failed_total",
    help: "Connections that failed; why: response_flags",
  },
  sentBytes: {
    ...counted,
    name: "istio_tcp_sent_bytes_total",
    unit: "bytes",
    help: "Payload of responses, counted when a connection ends",
  },
  receivedBytes: {
    ...counted,
    name: "istio_tcp_received_bytes_total",
    unit: "bytes",
    help: "Payload of requests, counted when a connection ends",
  },
} as const satisfies Record<(typeof seriesValues)[number], MetricFamily>;

export type Series = {
  readonly id: number;
  readonly labels: readonly string[];
  opened: number;
  closed: number;
  failed: number;
  sentBytes: number;
  receivedBytes: number;
  /** Connections that will still count here; such a series is never dropped. */
  live: number;
  usedAtMs: number;
};

/** What tells a relation from others, with workloads by their numbers. */
type RelationParts = {
  readonly reporter: ConnectionRecord["reporter"];
  readonly flag: ResponseFlag;
  readonly security: ConnectionRecord["security"];
  readonly source: number;
  readonly destination: number;
  readonly sourceIdentity: string;
  readonly destinationIdentity: string;
  readonly hostname: string;
  readonly serviceNamespace: string;
};

/** Relations that are found without a text of their parts: a node has more pairs of workloads than this, but not at every moment. */
const RECENT = 256;

/** Connections of the same two workloads, by the same identities, for the same Service. */
export class Relation {
  /** Where they are counted. */
  readonly series: Series;
  readonly alike = new AlikeRecords();
  #open = 0;

  constructor(series: Series) {
    this.series = series;
  }

  /** A connection counts here from now on. */
  joined(): void {
    this.#open += 1;
    this.series.live += 1;
  }

  left(): void {
    this.series.live -= 1;
    this.#open -= 1;
    if (this.#open === 0) this.alike.rest();
  }
}

const width = seriesValues.length + 1;
/** No label value is longer: a peer's certificate must not fill the scrape. */
const maxValueLength = 256;
export const otherValue = "other";
const unknownValue = "unknown";

export class SeriesTable {
  readonly #limit: number;
  readonly #now: () => number;
  readonly #byText = new Map<string, Series>();
  /** Short way to a series: the numbers of the mesh objects involved. Emptied when it grows past its bound. */
  readonly #byParts = new Map<string, Relation>();
  /** A shorter way: of the relations whose workloads share a place here, the latest. Emptied with `#byParts`. */
  readonly #recent = new Array<{ readonly parts: RelationParts; readonly relation: Relation } | undefined>(RECENT);
  readonly #numberOf = new WeakMap<Workload, number>();
  #workloads = 0;
  #nextId = 0;
  #fresh: Series[] = [];
  #overflowed = 0;
  readonly #idle: IdleRows;

  constructor(options: { readonly limit: number; readonly now: () => number }) {
    this.#limit = options.limit;
    this.#now = options.now;
    this.#idle = new IdleRows(options.now());
  }

  of(record: ConnectionRecord, flag: ResponseFlag): Series {
    return this.relationOf(record, flag).series;
  }

  relationOf(record: ConnectionRecord, flag: ResponseFlag): Relation {
    const parts: RelationParts = {
      reporter: record.reporter,
      flag,
      security: record.security,
      source: this.#number(record.source.workload),
      destination: this.#number(record.destination.workload),
      sourceIdentity: record.source.identity?.text ?? "",
      destinationIdentity: record.destination.identity?.text ?? "",
      hostname: record.service?.hostname ?? "",
      serviceNamespace: record.service?.namespace ?? "",
    };
    const place = (parts.source * 31 + parts.destination) % RECENT;
    const recent = this.#recent[place];
    let relation = recent?.relation;
    if (recent === undefined || relation === undefined || !isSameRelation(recent.parts, parts)) {
      relation = this.#relation(parts, record);
      this.#recent[place] = { parts, relation };
    }
    const { series } = relation;
    // Once per connection: a failure asks a second time, under its flag.
    if (flag === "-" && series.labels[1] === otherValue) this.#overflowed += 1;
    series.usedAtMs = this.#now();
    return relation;
  }

  #relation(parts: RelationParts, record: ConnectionRecord): Relation {
    const text = Object.values(parts).join("|");
    const known = this.#byParts.get(text);
    if (known !== undefined) return known;
    const relation = new Relation(this.#intern(labelsOf(record, parts.flag)));
    if (this.#byParts.size >= 4 * this.#limit) this.#forgetParts();
    this.#byParts.set(text, relation);
    return relation;
  }

  #forgetParts(): void {
    this.#byParts.clear();
    this.#recent.fill(undefined);
  }

  /** Hands over what was counted since the last call: rows of `seriesValues`, in their order. */
  take(): RowDeltas {
    const changed: Series[] = [];
    for (const series of this.#byText.values()) {
      if (seriesValues.some((name) => series[name] !== 0)) changed.push(series);
    }
    const rows = new Float64Array(changed.length * width);
    changed.forEach((series, row) => {
      rows[row * width] = series.id;
      seriesValues.forEach((name, column) => {
        rows[row * width + column + 1] = series[name];
        series[name] = 0;
      });
    });
    const fresh = freshOf(this.#fresh);
    const overflowed = this.#overflowed;
    this.#fresh = [];
    this.#overflowed = 0;
    return { fresh, rows, dropped: this.#sweep(), overflowed };
  }

  #number(workload: Workload | null): number {
    if (!workload) return 0;
    let number = this.#numberOf.get(workload);
    if (number === undefined) {
      this.#workloads += 1;
      number = this.#workloads;
      this.#numberOf.set(workload, number);
    }
    return number;
  }

  #intern(labels: readonly string[]): Series {
    const text = labels.join("\u0000");
    const known = this.#byText.get(text);
    if (known) return known;
    // Overflow series keep the three labels with few values, so there are at most a few dozen of them beyond the limit.
    if (this.#byText.size >= this.#limit && labels[1] !== otherValue) return this.#intern(labels.map(asOverflow));
    this.#nextId += 1;
    const series: Series = {
      id: this.#nextId,
      labels,
      opened: 0,
      closed: 0,
      failed: 0,
      sentBytes: 0,
      receivedBytes: 0,
      live: 0,
      usedAtMs: this.#now(),
    };
    this.#byText.set(text, series);
    this.#fresh.push(series);
    return series;
  }

  #sweep(): number[] {
    const dropped: number[] = [];
    for (const series of this.#idle.of(this.#byText.values(), this.#now())) {
      if (series.live > 0) continue;
      this.#byText.delete(series.labels.join("\u0000"));
      dropped.push(series.id);
    }
    if (dropped.length > 0) this.#forgetParts();
    return dropped;
  }
}

function isSameRelation(a: RelationParts, b: RelationParts): boolean {
  return (
    a.source === b.source &&
    a.destination === b.destination &&
    a.flag === b.flag &&
    a.reporter === b.reporter &&
    a.security === b.security &&
    a.sourceIdentity === b.sourceIdentity &&
    a.destinationIdentity === b.destinationIdentity &&
    a.hostname === b.hostname &&
    a.serviceNamespace === b.serviceNamespace
  );
}

const keptInOverflow = new Set<string>([
  "reporter",
  "request_protocol",
  "response_flags",
  "connection_security_policy",
]);

/** @param index of the value in `trafficLabels`; what comes behind them stays. */
export function asOverflow(value: string, index: number): string {
  const name = trafficLabels[index];
  return name === undefined || keptInOverflow.has(name) ? value : otherValue;
}

/** The values of `trafficLabels`. A missing one is "unknown", as Istio's dashboards expect. */
export function labelsOf(record: ConnectionRecord, flag: ResponseFlag): readonly string[] {
  const service = record.service;
  return [
    record.reporter,
    ...partyLabels(record.source),
    service?.hostname,
    service?.namespace,
    service?.name,
    ...partyLabels(record.destination),
    "tcp",
    flag,
    // Istio knows these two words only; a same-node call proved by its socket is no TLS.
    record.security === "mtls" ? "mutual_tls" : undefined,
  ].map((value) => (value === undefined || value === "" ? unknownValue : value.slice(0, maxValueLength)));
}

function partyLabels(party: Party): readonly (string | undefined)[] {
  const workload = party.workload;
  return [
    workload?.workloadName,
    workload?.canonicalName,
    workload?.canonicalRevision,
    workload?.namespace,
    party.identity?.text,
    workload?.labels.app ?? workload?.canonicalName,
    workload?.labels.version ?? workload?.canonicalRevision,
    workload?.cluster,
    workload?.locality.region,
    workload?.locality.zone,
  ];
}
