// tests · random bodies, and pieces in which they come, out of a seed. Pure.
import { mutated, type Random } from "../fuzz/mutate.ts";
import type { Body } from "./body-grammar.ts";
import type { Framing } from "./head.ts";

const pick = <T>(from: readonly [T, ...T[]], random: Random): T => from[random(from.length)] ?? from[0];

const kinds: readonly [Framing, ...Framing[]] = [
  "none",
  "length",
  "chunked",
  "chunked",
  "chunked",
  "chunked",
  "until-close",
];
const payloads = ["", "a", "hello", "\r\n", "0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "\xff\0", "5\r\nhello\r\n"] as const;
const following = ["", "", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n", "0\r\n\r\n", "X"] as const;
const extensions = ["", "", "", "", ";a", ' ; a = "b;\\""', ";a=b;c"] as const;
const trailers = [
  "",
  "",
  "",
  "Sum: 1\r\n",
  "a:\r\nb: c \r\n",
  "Content-Length: 1\r\n",
  " a: b\r\n",
  "a\r\n",
  "a: b\n",
] as const;

const payload = (random: Random): string => pick(payloads, random).repeat(random(4));

function section(random: Random): string {
  const fate = random(60);
  if (fate === 0) return `L: ${"x".repeat(8_150 + random(60))}\r\n`;
  if (fate === 1) return "a: b\r\n".repeat(30 + random(5));
  return pick(trailers, random) + (fate === 2 ? "a: \0\r\n" : "");
}

function chunks(random: Random): string {
  // Few bodies have enough extensions to be refused for them.
  const long =
    random(80) === 0 ? `;${"x".repeat(240)}` : random(80) === 0 ? `;${"x".repeat(247 + random(9))}` : undefined;
  const count = long === undefined ? random(6) : 60 + random(16);
  let text = "";
  for (let i = 0; i < count; i++) {
    const data = payload(random) || "x";
    const size = data.length.toString(16);
    const written = random(8) === 0 ? size.toUpperCase().padStart(1 + random(8), "0") : size;
    text += `${written}${long ?? pick(extensions, random)}\r\n${data}${random(100) === 0 ? "\n" : "\r\n"}`;
  }
  const wrong = random(50) === 0 ? pick(["g\r\n", "20000000000000\r\n", "5\n", "1;\r\nx\r\n"], random) : "";
  return `${text}${wrong}0${pick(extensions, random)}\r\n${section(random)}\r\n`;
}

/** One in ten is cut short, one in ten is changed. */
export function randomBody(random: Random): Body {
  const framing = pick(kinds, random);
  const content = framing === "chunked" ? chunks(random) : payload(random).repeat(1 + random(3));
  const whole = Buffer.from(content + pick(following, random), "latin1");
  const fate = random(10);
  const bytes =
    fate === 0 ? whole.subarray(0, random(whole.length + 1)) : fate === 1 ? mutated(whole, whole, random) : whole;
  return { framing, length: framing === "length" ? content.length : 0, bytes, closes: random(2) === 0 };
}

/** Sizes whose sum is `length`: single bytes, small pieces, large pieces, or all at once. */
export function randomPieces(length: number, random: Random): number[] {
  const most = pick([1, 2, 7, 300, 5_000, 65_535], random);
  const pieces: number[] = [];
  for (let left = length; left > 0; ) {
    // Long bodies in single bytes would only take time.
    const piece = Math.min(left, length > 2_000 && most < 300 ? 90 + random(90) : 1 + random(most));
    pieces.push(piece);
    left -= piece;
  }
  return pieces;
}
