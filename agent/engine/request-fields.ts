// 6 · data thread · the fields of a request, where the engine wrote them: looked up by name, and copied only when asked for.

/** A view into the arena (native/engine/http/request_event.h): it holds only as long as the handler of its event runs. */
export class RequestFields {
  readonly #bytes: Buffer;
  readonly #from: number;
  readonly #to: number;

  /** @param from in `bytes`, and `to` where the fields end */
  constructor(bytes: Buffer, from: number, to: number) {
    this.#bytes = bytes;
    this.#from = from;
    this.#to = to;
  }

  /** Values of the field of this lower-case name, in the order of arrival, as Latin-1. */
  readonly values = (name: string): readonly string[] => {
    const values: string[] = [];
    for (const field of this.#all()) {
      if (field.nameLength !== name.length || !this.#isAt(field.at, name)) continue;
      const from = field.at + field.nameLength;
      values.push(this.#bytes.toString("latin1", from, from + field.valueLength));
    }
    return values;
  };

  /**
   * The first of `values`; empty: there is none. Asked of each request, it makes nothing but the text.
   * @param limit most characters
   */
  first(name: string, limit: number): string {
    const bytes = this.#bytes;
    for (let at = this.#from; at + 4 <= this.#to; ) {
      const nameLength = bytes.readUInt16LE(at);
      const valueLength = bytes.readUInt16LE(at + 2);
      const value = at + 4 + nameLength;
      if (nameLength === name.length && this.#isAt(at + 4, name))
        return bytes.toString("latin1", value, value + Math.min(valueLength, limit));
      at = value + valueLength;
    }
    return "";
  }

  *#all(): Generator<{ readonly at: number; readonly nameLength: number; readonly valueLength: number }> {
    const bytes = this.#bytes;
    for (let at = this.#from; at + 4 <= this.#to; ) {
      const nameLength = bytes.readUInt16LE(at);
      const valueLength = bytes.readUInt16LE(at + 2);
      yield { at: at + 4, nameLength, valueLength };
      at += 4 + nameLength + valueLength;
    }
  }

  #isAt(at: number, name: string): boolean {
    for (let index = 0; index < name.length; index += 1)
      if (this.#bytes[at + index] !== name.charCodeAt(index)) return false;
    return true;
  }
}
