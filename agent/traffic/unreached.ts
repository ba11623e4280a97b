// 7 · data thread · connections whose far end could not be reached, as a pod that its node has not captured yet or has just released:
// each is decided anew, by what is known by then, until it is reached or three seconds are over.
import type { ConnectionRecord } from "../observe/record.ts";
import type { Connection } from "./connection.ts";
import type { WaitingOptions } from "./waiting.ts";

/** From the first failure: several times what capture takes, and less than most clients wait for an answer. */
export const REACH_LIMIT_MS = 3_000;
const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 250;
/** Most connections that wait on one thread; the next is dialled once more and then ends. */
const MOST_UNREACHED = 4096;

/** One destination, as one pod of ours dials it. The connections that wait for it are decided together, so that they share a dial. */
type UnreachedPeer = {
  readonly key: string;
  readonly connections: Set<Connection>;
  failures: number;
  /** Null: they are being dialled. */
  cancelPause: (() => void) | null;
};

type WaitingConnection = {
  peer: UnreachedPeer;
  readonly until: number;
  /** Null: it is being dialled. */
  decide: (() => void) | null;
};

export type UnreachedOptions = WaitingOptions & {
  /** Uniform in [0, 1). */
  readonly random: () => number;
};

export class UnreachedPeers {
  readonly #options: UnreachedOptions;
  readonly #peers = new Map<string, UnreachedPeer>();
  readonly #connections = new Map<Connection, WaitingConnection>();

  constructor(options: UnreachedOptions) {
    this.#options = options;
  }

  /** Whether the connection may wait if its next dial fails. */
  mayWait(connection: Connection): boolean {
    const known = this.#connections.get(connection);
    if (known === undefined) return this.#connections.size < MOST_UNREACHED;
    return this.#options.now() < known.until;
  }

  /**
   * A dial of `address` has failed. `decide` is called once, after a pause, unless the connection is forgotten before. False: too many
   * wait, and it does not.
   */
  wait(connection: Connection, address: string, decide: () => void): boolean {
    if (!this.#connections.has(connection) && this.#connections.size >= MOST_UNREACHED) return false;
    const key = `${connection.podIdx} ${address}`;
    const peer = this.#peers.get(key) ?? { key, connections: new Set(), failures: 0, cancelPause: null };
    const known = this.#connections.get(connection);
    if (known !== undefined && known.peer !== peer) this.#leave(connection, known.peer);
    this.#peers.set(key, peer);
    peer.connections.add(connection);
    const until = known?.until ?? this.#options.now() + REACH_LIMIT_MS;
    this.#connections.set(connection, { peer, until, decide });
    if (peer.cancelPause !== null) return true;
    peer.cancelPause = this.#options.after(this.#pauseMs(peer.failures), () => {
      peer.cancelPause = null;
      this.#decide(peer.connections);
    });
    peer.failures += 1;
    return true;
  }

  /** Something has changed for the connections that `concerns` says: they are decided at once. */
  changed(concerns: (record: ConnectionRecord) => boolean): void {
    if (this.#connections.size === 0) return;
    this.#decide([...this.#connections.keys()].filter(({ record }) => concerns(record)));
  }

  /** The connection has reached its peer: others that wait for the same peer are decided at once. */
  reached(connection: Connection): void {
    const known = this.#connections.get(connection);
    if (known === undefined) return;
    this.forget(connection);
    this.#decide(known.peer.connections);
  }

  /** The connection has ended, or goes elsewhere. */
  forget(connection: Connection): void {
    const known = this.#connections.get(connection);
    if (known === undefined) return;
    this.#connections.delete(connection);
    this.#leave(connection, known.peer);
  }

  #decide(connections: Iterable<Connection>): void {
    for (const connection of [...connections]) {
      const known = this.#connections.get(connection);
      const decide = known?.decide ?? null;
      if (known === undefined || decide === null) continue;
      known.decide = null;
      decide();
    }
  }

  #leave(connection: Connection, peer: UnreachedPeer): void {
    peer.connections.delete(connection);
    if (peer.connections.size > 0) return;
    peer.cancelPause?.();
    this.#peers.delete(peer.key);
  }

  /** Doubled with each failure; the upper half is random, so that the pods of a node do not dial in step. */
  #pauseMs(failures: number): number {
    const most = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures);
    return most / 2 + (this.#options.random() * most) / 2;
  }
}
