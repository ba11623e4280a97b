// 15 · main thread · records of connections that no agent sees, from their opening event to their end. The event of an end may be
// lost when the ring is full; the kernel's sums say how many were, and as many records are ended without their event.
import { type Listed, OpenList } from "../observe/open-list.ts";
import type { ConnectionRecord } from "../observe/record.ts";
import type { OpenRecord } from "../observe/recorder.ts";
import type { Permission, Revocation } from "../plan/permission.ts";
import type { SockCookie } from "./events.ts";
import { type TrafficKey, type TrafficRow, trafficKeyOf } from "./traffic-sums.ts";

export class OpenEntry implements Listed<OpenEntry> {
  readonly cookie: SockCookie;
  readonly record: OpenRecord;
  /** What a joined connection was allowed on; null: nobody judges it again. */
  readonly permission: Permission | null;
  /** Why it is to end; its end event follows when the keeper has ended it. */
  revocation: Revocation | null = null;
  earlier: OpenEntry | null = null;
  later: OpenEntry | null = null;
  /** The next whose cookie falls in the same place. `OpenRecords` alone writes it. */
  next: OpenEntry | null = null;

  constructor(cookie: SockCookie, record: OpenRecord, permission: Permission | null) {
    this.cookie = cookie;
    this.record = record;
    this.permission = permission;
  }
}

/** Open connections kept at most; beyond that a connection is recorded when it ends. */
const MAX_OPEN = 50_000;
/** Cookies remembered of records that were ended without an end event. */
const MAX_WRITTEN_OFF = 10_000;
/** For cookies, which count up: a dozen open connections each at most. */
const PLACES = 4_096;

export class OpenRecords {
  readonly #open = new OpenList<OpenEntry>();
  /**
   * By socket cookie. No Map: entries that come and go make it a new table every few connections, and once a table that it has left is
   * old, V8 keeps all that come after it, with what they hold, until all of the heap is marked.
   */
  readonly #places: (OpenEntry | null)[] = new Array(PLACES).fill(null);
  readonly #writtenOff = new Set<SockCookie>();
  /** By row: how many more records than connections there were at the look before. */
  #surplus = new Map<string, number>();
  #endsLost = 0;

  get full(): boolean {
    return this.#open.size >= MAX_OPEN;
  }

  /** Records that were ended without an end event, since the start. */
  get endsLost(): number {
    return this.#endsLost;
  }

  add(entry: OpenEntry): void {
    const place = placeOf(entry.cookie);
    entry.next = this.#places[place] ?? null;
    this.#places[place] = entry;
    this.#open.add(entry);
  }

  /** "written-off": its record was ended already, because its end event was taken for lost. */
  take(cookie: SockCookie): OpenEntry | "written-off" | undefined {
    let entry = this.#places[placeOf(cookie)] ?? null;
    while (entry !== null && entry.cookie !== cookie) entry = entry.next;
    if (entry === null) return this.#writtenOff.delete(cookie) ? "written-off" : undefined;
    this.#remove(entry);
    return entry;
  }

  #remove(entry: OpenEntry): void {
    const place = placeOf(entry.cookie);
    const first = this.#places[place];
    if (first === entry) {
      this.#places[place] = entry.next;
    } else {
      let before = first ?? null;
      while (before !== null && before.next !== entry) before = before.next;
      if (before !== null) before.next = entry.next;
    }
    entry.next = null;
    this.#open.remove(entry);
  }

  /** In the order of opening. */
  values(): Iterable<OpenEntry> {
    return this.#open;
  }

  /**
   * Ends the oldest records of a row that had more open records than connections at this look and at the look before. A single look
   * proves nothing: the kernel adds to the sum a moment before its event is read. `rows` were read before the ring was drained. True: look again.
   */
  endLost(rows: readonly TrafficRow[], nowMs: number): boolean {
    const keyOf = keysIn(rows);
    const surplus = this.#surplusOf(rows, keyOf);
    const lost = new Map<string, number>();
    for (const [key, count] of surplus) lost.set(key, Math.min(count, this.#surplus.get(key) ?? 0));
    this.#surplus = surplus;
    const ended: OpenEntry[] = [];
    for (const entry of this.#open) {
      const key = keyOf(entry.record.alike);
      const left = lost.get(key) ?? 0;
      if (left === 0) continue;
      lost.set(key, left - 1);
      surplus.set(key, (surplus.get(key) ?? 0) - 1);
      ended.push(entry);
    }
    for (const entry of ended) {
      const { cookie, record } = entry;
      this.#remove(entry);
      if (this.#writtenOff.size < MAX_WRITTEN_OFF) this.#writtenOff.add(cookie);
      this.#endsLost += 1;
      record.closed({
        ...{ flag: "-", cause: "end-lost", message: "", sentBytes: 0, receivedBytes: 0 },
        durationUs: Math.max(0, nowMs - record.openedAtMs) * 1000,
      });
    }
    return [...surplus.values()].some((count) => count > 0);
  }

  #surplusOf(rows: readonly TrafficRow[], keyOf: (record: ConnectionRecord) => string): Map<string, number> {
    const records = new Map<string, number>();
    for (const { record } of this.#open) {
      const key = keyOf(record.alike);
      records.set(key, (records.get(key) ?? 0) + 1);
    }
    const surplus = new Map<string, number>();
    for (const row of rows) {
      const key = trafficKeyOf(row);
      // More ended than began: the row was emptied when its pod got the index, and connections from before are still ending.
      if (row.closed > row.opened) continue;
      const more = (records.get(key) ?? 0) - (row.opened - row.closed);
      if (more > 0) surplus.set(key, more);
    }
    return surplus;
  }
}

const placeOf = (cookie: SockCookie): number =>
  typeof cookie === "number" ? cookie % PLACES : Number(cookie % BigInt(PLACES));

/** The key of the row in which the kernel sums up a record: its port's own, or that of the ports beyond the pod's bound. */
function keysIn(rows: readonly TrafficRow[]): (record: ConnectionRecord) => string {
  const known = new Set(rows.map(trafficKeyOf));
  return (record) => {
    const row = rowOf(record);
    const own = trafficKeyOf(row);
    return known.has(own) ? own : trafficKeyOf({ ...row, port: 0 });
  };
}

/** The row that the kernel sums a record's connection up in; the record is of a connection that no agent sees. */
export function rowOf(record: ConnectionRecord): TrafficKey {
  const outbound = record.direction === "outbound";
  return {
    podIdx: record.podIdx,
    direction: outbound ? "out" : "in",
    way: record.security === "socket" ? "joined" : "direct",
    port: (outbound ? (record.dialled ?? record.destination) : record.destination).port,
  };
}
