// 18 · data thread · how many requests of a caller's identity may be under way to a Service's port, over all data threads together.
import { fullName } from "../mesh/full-name.ts";
import type { RequestsTo } from "../plan/forwarded-request.ts";
import type { UnderWayCells } from "./under-way-cells.ts";

/** Hashes of keys that are remembered; then it begins anew. */
const MOST_KEYS = 4_096;

/** A request's place; `release` follows once. */
export type RequestPlace = { readonly release: () => void };

export class RequestCaps {
  readonly #cells: UnderWayCells;
  readonly #thread: number;
  readonly #keys = new Map<string, bigint>();

  constructor(cells: UnderWayCells, thread: number) {
    this.#cells = cells;
    this.#thread = thread;
  }

  /** null: nobody limits them. "full": there are as many as may be. */
  take({ caller, service, port }: Omit<RequestsTo, "rule">): RequestPlace | "full" | null {
    const most = service.traffic?.maxRequests ?? null;
    if (most === null) return null;
    const at = this.#cells.take(this.#keyOf(`${caller}\0${fullName(service)}:${port.port}`), this.#thread, most);
    return at === undefined ? "full" : { release: () => this.#cells.release(at, this.#thread) };
  }

  #keyOf(text: string): bigint {
    const known = this.#keys.get(text);
    if (known !== undefined) return known;
    if (this.#keys.size >= MOST_KEYS) this.#keys.clear();
    const key = this.#cells.keyOf(text);
    this.#keys.set(text, key);
    return key;
  }
}
