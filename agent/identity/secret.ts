// main thread · key material that prints, serialises and inspects as nothing. Taken once, then wiped.
import { inspect } from "node:util";

const SHOWN = "[secret]";

/** Bytes that no log, dump or message can show by accident: they live in a private field, which nothing can list. */
export class Secret {
  #bytes: Uint8Array | undefined;

  /** Takes ownership: the caller keeps no other copy. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** False once the bytes were used or wiped. */
  get held(): boolean {
    return this.#bytes !== undefined;
  }

  /**
   * Hands the bytes to `use` and overwrites them when it returns or throws; `use` keeps no reference.
   * @throws Error when they were used or wiped before.
   */
  take<T>(use: (bytes: Uint8Array) => T): T {
    const bytes = this.#bytes;
    if (!bytes) throw new Error("the secret was used or wiped before");
    this.#bytes = undefined;
    try {
      return use(bytes);
    } finally {
      bytes.fill(0);
    }
  }

  wipe(): void {
    this.#bytes?.fill(0);
    this.#bytes = undefined;
  }

  toString(): string {
    return SHOWN;
  }

  toJSON(): string {
    return SHOWN;
  }

  [inspect.custom](): string {
    return SHOWN;
  }

  [Symbol.toPrimitive](): string {
    return SHOWN;
  }
}
