// main thread · the bytes of a watch → its lines. A line is one event, however the network has cut it. Pure but for its state.

/** Longest line, in bytes. etcd takes objects of 1.5 MiB, and JSON may need more for the same. */
export const MAX_LINE_BYTES = 8 * 1024 * 1024;

/** More bytes than any event has, without a line end. */
export class LineTooLong extends Error {}

export class JsonLines {
  readonly #decoder = new TextDecoder("utf-8", { fatal: true });
  /** Of the line that is not whole yet. Joined once: to append each chunk to a text would copy the text each time. */
  #parts: Uint8Array[] = [];
  #bytes = 0;

  /** There are bytes of a line that has not ended. */
  get isTorn(): boolean {
    return this.#bytes > 0;
  }

  /**
   * The lines that end in this chunk; empty lines are none.
   * @throws LineTooLong, and TypeError when a line is no UTF-8
   */
  *of(chunk: Uint8Array): Generator<string> {
    let from = 0;
    for (;;) {
      const end = chunk.indexOf(0x0a, from);
      const part = chunk.subarray(from, end < 0 ? chunk.length : end);
      if (this.#bytes + part.length > MAX_LINE_BYTES) throw new LineTooLong(`a line of over ${MAX_LINE_BYTES} bytes`);
      if (part.length > 0) this.#parts.push(part);
      this.#bytes += part.length;
      if (end < 0) return;
      const line = this.#decoder.decode(this.#joined());
      this.#parts = [];
      this.#bytes = 0;
      if (line.trim() !== "") yield line;
      from = end + 1;
    }
  }

  #joined(): Uint8Array {
    const [first] = this.#parts;
    if (this.#parts.length === 1 && first !== undefined) return first;
    const whole = new Uint8Array(this.#bytes);
    let at = 0;
    for (const part of this.#parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }
}
