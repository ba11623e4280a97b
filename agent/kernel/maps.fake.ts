import type { NativeMap } from "../engine/native-maps.ts";
// test double · a kernel map in memory: sizes, fullness and per-CPU values as the kernel has them.

export class FakeMap implements NativeMap {
  readonly name: string;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly cpus: number;
  readonly maxEntries: number;
  readonly #entries = new Map<string, { readonly key: Uint8Array; readonly value: Uint8Array }>();

  constructor(options: { name: string; keyBytes: number; valueBytes: number; cpus?: number; maxEntries?: number }) {
    this.name = options.name;
    this.keyBytes = options.keyBytes;
    this.cpus = options.cpus ?? 1;
    this.valueBytes = options.valueBytes * this.cpus;
    this.maxEntries = options.maxEntries ?? 1024;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#entries.get(this.#sized(key, this.keyBytes))?.value.slice();
  }

  put(key: Uint8Array, value: Uint8Array): void {
    const name = this.#sized(key, this.keyBytes);
    this.#sized(value, this.valueBytes);
    if (!this.#entries.has(name) && this.#entries.size >= this.maxEntries) {
      throw Object.assign(new Error("bpf(BPF_MAP_UPDATE_ELEM): E2BIG"), { code: "E2BIG" });
    }
    this.#entries.set(name, { key: key.slice(), value: value.slice() });
  }

  delete(key: Uint8Array): boolean {
    return this.#entries.delete(this.#sized(key, this.keyBytes));
  }

  dump(): Uint8Array {
    return Buffer.concat([...this.#entries.values()].flatMap(({ key, value }) => [key, value]));
  }

  close(): void {
    this.#entries.clear();
  }

  #sized(bytes: Uint8Array, size: number): string {
    if (bytes.length !== size) throw new RangeError(`${this.name}: ${bytes.length} bytes instead of ${size}`);
    return Buffer.from(bytes).toString("hex");
  }
}
