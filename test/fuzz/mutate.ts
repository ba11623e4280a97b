// fuzz · random changes of an input, out of a seed. Pure.
import { seededBits } from "../support/dice.ts";

/** A whole number below `limit`. */
export type Random = (limit: number) => number;

export function seeded(seed: number): Random {
  const bits = seededBits(seed);
  return (limit) => bits() % limit;
}

const interesting = [0, 1, 0x20, 0x2e, 0x3a, 0x7f, 0x80, 0x81, 0x82, 0x84, 0xfe, 0xff];
export const MAX_BYTES = 16_384;

type Change = (input: Buffer, other: Buffer, random: Random) => Buffer;

const at = (input: Buffer, random: Random): number => (input.length === 0 ? 0 : random(input.length));
const replaced = (input: Buffer, from: number, to: number, by: Uint8Array): Buffer =>
  Buffer.concat([input.subarray(0, from), by, input.subarray(to)]);
/** A piece of `input`, at most 64 bytes. */
function piece(input: Buffer, random: Random): Buffer {
  const from = at(input, random);
  return input.subarray(from, from + 1 + random(64));
}
const changedByte =
  (change: (byte: number, random: Random) => number): Change =>
  (input, _other, random) => {
    const where = at(input, random);
    return replaced(input, where, where + 1, Buffer.from([change(input[where] ?? 0, random)]));
  };

const changes: readonly Change[] = [
  changedByte((byte, random) => byte ^ (1 << random(8))),
  changedByte((_byte, random) => random(256)),
  changedByte((_byte, random) => interesting[random(interesting.length)] ?? 0),
  changedByte((byte, random) => (byte + random(9) - 4) & 0xff),
  (input, _other, random) => {
    const from = at(input, random);
    return replaced(input, from, from + 1 + random(32), Buffer.alloc(0));
  },
  (input, _other, random) => {
    const where = at(input, random);
    return replaced(input, where, where, piece(input, random));
  },
  (input, other, random) => {
    const where = at(input, random);
    return replaced(input, where, where + random(16), piece(other, random));
  },
  (input, other, random) => Buffer.concat([input.subarray(0, at(input, random)), other.subarray(at(other, random))]),
  (input, _other, random) => {
    const where = at(input, random);
    return replaced(input, where, where, Buffer.alloc(1 + random(random(4) === 0 ? 2_048 : 16), random(256)));
  },
  (input, _other, random) => input.subarray(0, at(input, random)),
];

/** One to five changes; pieces of `other` may come in. */
export function mutated(input: Buffer, other: Buffer, random: Random): Buffer {
  let out = input;
  for (let count = 1 + random(5); count > 0; count--) {
    const change = changes[random(changes.length)];
    if (change) out = change(out, other, random);
  }
  return out.subarray(0, MAX_BYTES);
}
