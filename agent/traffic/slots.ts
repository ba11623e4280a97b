// 7, 12 · data thread · open connections by the engine's slots, which are small numbers that it uses again: an array, and no table of keys.
import type { ConnRef } from "../engine/events.ts";
import type { Connection } from "./connection.ts";

export class ConnectionSlots {
  readonly #bySlot: (Connection | undefined)[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The connection in the slot, of whatever generation. */
  at(slot: number): Connection | undefined {
    return this.#bySlot[slot];
  }

  /** undefined: it has ended, or was never there. */
  find({ conn, generation }: ConnRef): Connection | undefined {
    const connection = this.#bySlot[conn];
    return connection?.generation === generation ? connection : undefined;
  }

  /** The slot must be free. */
  add(connection: Connection): void {
    this.#bySlot[connection.conn] = connection;
    this.#size += 1;
  }

  /** It must be in its slot. */
  remove({ conn }: Connection): void {
    this.#bySlot[conn] = undefined;
    this.#size -= 1;
  }

  /** All that are open now, in the order of their slots. */
  all(): readonly Connection[] {
    return this.#bySlot.filter((connection) => connection !== undefined);
  }
}
