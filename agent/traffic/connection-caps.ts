// 7, 21 · data thread · how many connections of a caller's identity may be open to a Service's port, over all data threads together: what nobody reads
// is counted here, what requests go over by the engine, in the same cells.
import type { OriginPool } from "../engine/answers.ts";
import { fullName } from "../mesh/full-name.ts";
import type { Service } from "../mesh/service.ts";
import type { OriginUse } from "./origins.ts";
import type { UnderWayCells } from "./under-way-cells.ts";

/** Pools that are remembered; then it begins anew. */
const MOST_KNOWN = 4_096;

/** A connection's place; `release` follows once. */
export type ConnectionPlace = { readonly release: () => void };

/** Whose connections, to what. `port`: the Service's own. */
export type ConnectionsTo = { readonly caller: string; readonly service: Service; readonly port: number };

type KnownPool = { readonly of: Service["traffic"]; readonly pool: OriginPool };

export class ConnectionCaps {
  readonly #cells: UnderWayCells;
  readonly #thread: number;
  readonly #pools = new Map<string, KnownPool>();

  constructor(cells: UnderWayCells, thread: number) {
    this.#cells = cells;
    this.#thread = thread;
  }

  /** Of a connection that nobody reads. null: nobody limits them. "full": as many as may be are open. */
  take(to: ConnectionsTo): ConnectionPlace | "full" | null {
    const most = to.service.traffic?.maxConnections;
    if (most === undefined) return null;
    const at = this.#cells.take(this.#cells.keyOf(keyText(to, "requests")), this.#thread, most);
    if (at !== undefined) return { release: () => this.#cells.release(at, this.#thread) };
    this.#cells.refused();
    return "full";
  }

  /** The engine has found no place for the connection of a request in time, or as many wait already as may. */
  refused(): void {
    this.#cells.refused();
  }

  /**
   * How connections of requests are kept, with their cap. Those of copies have a cap for themselves: a copy takes no request's place.
   * The same object as long as nothing changes. undefined: as the engine has it.
   */
  poolOf(to: ConnectionsTo, use: OriginUse): OriginPool | undefined {
    const { traffic } = to.service;
    const { maxConnections: most = 0, maxPending: mostWaiting = 0 } = traffic ?? {};
    if (most + mostWaiting === 0) return traffic?.pool;
    const key = keyText(to, use);
    const known = this.#pools.get(key);
    if (known !== undefined && known.of === traffic) return known.pool;
    if (this.#pools.size >= MOST_KNOWN) this.#pools.clear();
    const { connectMs = 0, idleMs = 0, mostRequests = 0 } = traffic?.pool ?? {};
    const pool = {
      connectMs,
      idleMs,
      mostRequests,
      cap: { key: this.#cells.keyOf(key), most, mostWaiting },
    };
    this.#pools.set(key, { of: traffic, pool });
    return pool;
  }
}

const keyText = ({ caller, service, port }: ConnectionsTo, use: OriginUse): string =>
  `${use}\0${caller}\0${fullName(service)}:${port}`;
