// any thread · lines as bytes, for lines that are many and alike: what they have in common is encoded once and copied, and a number is
// written digit by digit. As texts they would be some twenty pieces a line, which V8 keeps until it joins them.

/** What is held at first, and after a hand-over again: a node at rest writes no lines. */
const FIRST_BYTES = 4_096;
/** Held on to between hand-overs at most: some hundred lines. */
const KEPT_BYTES = 65_536;
/** UTF-8 of one UTF-16 unit is no longer. */
const MOST_BYTES_A_UNIT = 3;
const encoder = new TextEncoder();
const ZERO = 48;
const LONGEST_NUMBER = 16;

/** UTF-8. A half of a pair of surrogates becomes U+FFFD. */
export const encoded = (text: string): Uint8Array => encoder.encode(text);

/** Grows as it is asked to. */
export class LineBytes {
  #bytes = new Uint8Array(FIRST_BYTES);
  #length = 0;

  add(part: Uint8Array): void {
    this.#reserve(part.length);
    this.#bytes.set(part, this.#length);
    this.#length += part.length;
  }

  addText(text: string): void {
    if (text === "") return;
    this.#reserve(text.length * MOST_BYTES_A_UNIT);
    this.#length += encoder.encodeInto(text, this.#bytes.subarray(this.#length)).written;
  }

  /** As `String(value)`. */
  addNumber(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) {
      this.addText(String(value));
      return;
    }
    this.#reserve(LONGEST_NUMBER);
    const bytes = this.#bytes;
    let end = this.#length + 1;
    for (let left = value; left >= 10; left = Math.floor(left / 10)) end++;
    this.#length = end;
    let left = value;
    do {
      const rest = Math.floor(left / 10);
      end--;
      bytes[end] = ZERO + (left - rest * 10);
      left = rest;
    } while (left > 0);
  }

  /** What was added since the last call, in memory of its own. */
  take(): Uint8Array {
    const taken = this.#bytes.slice(0, this.#length);
    this.#length = 0;
    if (this.#bytes.length > KEPT_BYTES) this.#bytes = new Uint8Array(FIRST_BYTES);
    return taken;
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}
