// any thread · what many connections' records have in common, held once: an idle connection costs what it has alone, which is its caller's
// port and its trace.
import type { Endpoint } from "../mesh/endpoint.ts";
import { cut } from "../mesh/thread-view.ts";
import type { DecisionSummary } from "./decision-summary.ts";
import type { ConnectionRecord, Party, RecordService } from "./record.ts";

/** Different records that are remembered of the same two ends: as many as a client calls ports of one server, rarely more. */
const MOST_REMEMBERED = 4;

/** The records of connections between the same two ends, as far as they are alike; the latest first. */
export class AlikeRecords {
  #latest: readonly ConnectionRecord[] = [];

  /** The record without the caller's port, which is 0, and without a trace: the same object for connections that are alike in the rest. */
  of(record: ConnectionRecord): ConnectionRecord {
    const known = this.#latest.find((each) => isAlike(each, record));
    if (known !== undefined) return known;
    const alike = { ...record, source: { ...record.source, port: 0 }, traceId: "" };
    this.#latest = [alike, ...this.#latest.slice(0, MOST_REMEMBERED - 1)];
    return alike;
  }

  /** No connection is open any more: the latest record is the likeliest for the next. */
  rest(): void {
    if (this.#latest.length > 1) this.#latest = this.#latest.slice(0, 1);
  }
}

/** The whole record of a connection that `alike` is of. */
export function wholeRecord(alike: ConnectionRecord, port: number, traceId: string): ConnectionRecord {
  return { ...alike, source: { ...alike.source, port }, traceId };
}

/** A trace as it is kept: without the header that it was cut from. */
export const keptTrace = (traceId: string): string => cut(traceId);

function isAlike(a: ConnectionRecord, b: ConnectionRecord): boolean {
  return (
    a.podIdx === b.podIdx &&
    a.reporter === b.reporter &&
    a.direction === b.direction &&
    a.security === b.security &&
    a.unjudged === b.unjudged &&
    a.source.address === b.source.address &&
    isSameParty(a.source, b.source) &&
    isSameEndpoint(a.destination, b.destination) &&
    isSameParty(a.destination, b.destination) &&
    isSameEndpoint(a.hbone, b.hbone) &&
    isSameEndpoint(a.dialled, b.dialled) &&
    isSameService(a.service, b.service) &&
    isSameDecision(a.decision, b.decision)
  );
}

function isSameParty(a: Party, b: Party): boolean {
  return a.workload === b.workload && a.identity?.text === b.identity?.text;
}

function isSameEndpoint(a: Endpoint | null, b: Endpoint | null): boolean {
  return a === b || (a !== null && b !== null && a.port === b.port && a.address === b.address);
}

function isSameService(a: RecordService | null, b: RecordService | null): boolean {
  if (a === b) return true;
  return a !== null && b !== null && a.hostname === b.hostname && a.name === b.name && a.namespace === b.namespace;
}

function isSameDecision(a: DecisionSummary | null, b: DecisionSummary | null): boolean {
  if (a === b) return true;
  if (a === null || b === null) return false;
  return (
    a.verdict === b.verdict &&
    a.layer === b.layer &&
    a.reason === b.reason &&
    a.policy === b.policy &&
    a.at === b.at &&
    a.nearestMiss === b.nearestMiss &&
    isSameList(a.audited, b.audited) &&
    isSameList(a.dryRunDenied, b.dryRunDenied)
  );
}

function isSameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text, at) => text === b[at]);
}
