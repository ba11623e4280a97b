import assert from "node:assert/strict";
import { test } from "node:test";
import { type SipKey, sipHash } from "./sip-hash.ts";

/** The key 00 01 … 0f, and of the messages of 0, 1, 2 … bytes 00 01 02 … the first values of the reference. */
const key: SipKey = [0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c];
const first = [
  0x726fdb47dd0e0e31n,
  0x74f839c593dc67fdn,
  0x0d6c8009d9a94f5an,
  0x85676696d7fb7e2dn,
  0xcf2794e0277187b7n,
  0x18765564cd99a68dn,
  0xcbc9466e58fee3cen,
  0xab0200f58b01d137n,
  0x93f5f5799a932462n,
  0x9e0082df0ba9e4b0n,
];
const ofPaper = { bytes: 15, hash: 0xa129ca6149be45e5n };

const message = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => index);

test("a hash is that of the paper and of its reference", () => {
  assert.deepEqual(
    first.map((_, length) => BigInt.asUintN(64, sipHash(key, message(length)))),
    first,
  );
  assert.equal(BigInt.asUintN(64, sipHash(key, message(ofPaper.bytes))), ofPaper.hash);
});

test("another key makes another hash, and so does any bit of the message", () => {
  const bytes = message(40);
  const hash = sipHash(key, bytes);
  assert.notEqual(sipHash([1, 0, 0, 0], bytes), hash);
  for (let bit = 0; bit < 8 * bytes.length; bit += 1) {
    const changed = Uint8Array.from(bytes);
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert.notEqual(sipHash(key, changed), hash, `bit ${bit}`);
  }
});
