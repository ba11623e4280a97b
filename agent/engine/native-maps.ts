// any thread · what engine.node offers on maps that the keeper lent: plain interfaces, so that tests stand in.

/** Class KernelMap of engine.node: raw bpf(2) on a borrowed map. Keys and values must have exactly the map's sizes. */
export interface NativeMap {
  readonly name: string;
  readonly keyBytes: number;
  /** Of a per-CPU map: all CPUs' values, each padded to eight bytes. */
  readonly valueBytes: number;
  /** Values per key: the possible CPUs of a per-CPU map, else 1. */
  readonly cpus: number;
  readonly maxEntries: number;
  get(key: Uint8Array): Uint8Array | undefined;
  /** Throws E2BIG when the map is full. */
  put(key: Uint8Array, value: Uint8Array): void;
  /** False: there was no such key. */
  delete(key: Uint8Array): boolean;
  /** All entries, key then value, back to back. No snapshot: entries may come and go meanwhile. */
  dump(): Uint8Array;
  close(): void;
}
/** Duplicates `fd`. Throws when it is no BPF map. */
export type NativeMapClass = new (fd: number) => NativeMap;

/** Class RingBuffer of engine.node: the consuming end of a borrowed ring. One consumer at a time. */
export interface NativeRing {
  /** Records of another size than asked for, since it was opened: layouts differ. */
  readonly skipped: number;
  /** Copies records of exactly `recordBytes`, back to back, as many as there are and fit; says how many. */
  drain(into: Uint8Array, recordBytes: number): number;
  close(): void;
}
export type NativeRingClass = new (fd: number) => NativeRing;
