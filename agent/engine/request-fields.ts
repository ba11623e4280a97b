// 6 · data thread · the fields of a request, where the engine wrote them: looked up by name, and copied only when asked for.
import { isAlikeByte } from "../mesh/alike-names.ts";
import type { ReadHeader } from "../mesh/facts.ts";

/** A view into the arena (native/engine/http/request_event.h): it holds only as long as the handler of its event runs. */
export class RequestFields {
  readonly #bytes: Buffer;
  readonly #view: DataView;
  #from: number;
  #to: number;

  /** @param from in `bytes`, and `to` where the fields end */
  constructor(bytes: Buffer, from: number, to: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#from = from;
    this.#to = to;
  }

  /** The same view of another request's fields. */
  moveTo(from: number, to: number): this {
    this.#from = from;
    this.#to = to;
    return this;
  }

  /** As Latin-1. */
  readonly values: ReadHeader = (name, spelled) => {
    const values: string[] = [];
    for (let at = this.#next(this.#from, name, spelled); at >= 0; ) {
      const end = this.#end(at);
      values.push(this.#bytes.toString("latin1", at + 4 + name.length, end));
      at = this.#next(end, name, spelled);
    }
    return values;
  };

  /**
   * The first of `values`; empty: there is none. Asked of each request, it makes nothing but the text.
   * @param limit most characters
   */
  first(name: string, limit: number): string {
    const at = this.#next(this.#from, name);
    if (at < 0) return "";
    const value = at + 4 + name.length;
    return this.#bytes.toString("latin1", value, Math.min(this.#end(at), value + limit));
  }

  /** Where the first field of this name is from `at` on, which is where a field begins; -1: there is none. */
  #next(at: number, name: string, spelled?: "alike"): number {
    for (let field = at; field + 4 <= this.#to; field = this.#end(field)) {
      if (this.#view.getUint16(field, true) !== name.length) continue;
      if (spelled === undefined ? this.#isAt(field + 4, name) : this.#isAlikeAt(field + 4, name)) return field;
    }
    return -1;
  }

  /** The offset behind the field that begins at `at`. */
  #end(at: number): number {
    return at + 4 + this.#view.getUint16(at, true) + this.#view.getUint16(at + 2, true);
  }

  #isAt(at: number, name: string): boolean {
    for (let index = 0; index < name.length; index += 1)
      if (this.#bytes[at + index] !== name.charCodeAt(index)) return false;
    return true;
  }

  #isAlikeAt(at: number, name: string): boolean {
    for (let index = 0; index < name.length; index += 1)
      if (!isAlikeByte(this.#bytes[at + index] ?? 0, name.charCodeAt(index))) return false;
    return true;
  }
}
