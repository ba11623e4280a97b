// any thread · SipHash-2-4: a hash of texts that callers choose, which nobody without the key can aim. Pure.
// Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012).

/** Four words of 32 bits, each pair with its low half first. */
export type SipKey = readonly [number, number, number, number];

/** The state: v0 to v3, each as low and high half. Kept between calls, since a hash is made for a request. */
const v = new Int32Array(8);

function addTo(to: number, from: number): void {
  const low = ((v[to] ?? 0) >>> 0) + ((v[from] ?? 0) >>> 0);
  v[to] = low;
  v[to + 1] = (v[to + 1] ?? 0) + (v[from + 1] ?? 0) + (low > 0xffff_ffff ? 1 : 0);
}

/** Rotated left by `bits` < 32, then exclusive or with the word at `other`. */
function rotateXor(at: number, bits: number, other: number): void {
  const low = v[at] ?? 0;
  const high = v[at + 1] ?? 0;
  v[at] = ((low << bits) | (high >>> (32 - bits))) ^ (v[other] ?? 0);
  v[at + 1] = ((high << bits) | (low >>> (32 - bits))) ^ (v[other + 1] ?? 0);
}

function swapHalves(at: number): void {
  const low = v[at] ?? 0;
  v[at] = v[at + 1] ?? 0;
  v[at + 1] = low;
}

function round(): void {
  addTo(0, 2);
  rotateXor(2, 13, 0);
  swapHalves(0);
  addTo(4, 6);
  rotateXor(6, 16, 4);
  addTo(0, 6);
  rotateXor(6, 21, 0);
  addTo(4, 2);
  rotateXor(2, 17, 4);
  swapHalves(4);
}

function absorb(low: number, high: number): void {
  v[6] = (v[6] ?? 0) ^ low;
  v[7] = (v[7] ?? 0) ^ high;
  round();
  round();
  v[0] = (v[0] ?? 0) ^ low;
  v[1] = (v[1] ?? 0) ^ high;
}

/** 64 bits, as the signed integer that a BigInt64Array holds. */
export function sipHash(key: SipKey, bytes: Uint8Array): bigint {
  v[0] = key[0] ^ 0x70736575;
  v[1] = key[1] ^ 0x736f6d65;
  v[2] = key[2] ^ 0x6e646f6d;
  v[3] = key[3] ^ 0x646f7261;
  v[4] = key[0] ^ 0x6e657261;
  v[5] = key[1] ^ 0x6c796765;
  v[6] = key[2] ^ 0x79746573;
  v[7] = key[3] ^ 0x74656462;
  const whole = bytes.length & ~7;
  for (let at = 0; at < whole; at += 8) absorb(wordAt(bytes, at, 4), wordAt(bytes, at + 4, 4));
  const rest = bytes.length - whole;
  const low = wordAt(bytes, whole, Math.min(rest, 4));
  const high = wordAt(bytes, whole + 4, Math.max(rest - 4, 0)) | (bytes.length << 24);
  absorb(low, high);
  v[4] = (v[4] ?? 0) ^ 0xff;
  for (let nth = 0; nth < 4; nth += 1) round();
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = v;
  return (BigInt(b ^ d ^ f ^ h) << 32n) | BigInt((a ^ c ^ e ^ g) >>> 0);
}

/** The `count` ≤ 4 bytes from `at`, the first of them lowest. */
function wordAt(bytes: Uint8Array, at: number, count: number): number {
  let word = 0;
  for (let nth = 0; nth < count; nth += 1) word |= (bytes[at + nth] ?? 0) << (8 * nth);
  return word;
}
