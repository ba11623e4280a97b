// tests · random chunk lines, ends of chunks and trailers out of a seed. Pure.
import { mutated, type Random } from "../fuzz/mutate.ts";
import { type ChunkKind, chunkKinds } from "./chunk-grammar.ts";

const pick = <T>(from: readonly [T, ...T[]], random: Random): T => from[random(from.length)] ?? from[0];

const sizes = ["0", "5", "1a", "FFff", "000005", "1fffffffffffff", "0000000000000000"] as const;
const wrongSizes = [
  "20000000000000",
  "ffffffffffffffff",
  "10000000000000005",
  "",
  "0x5",
  "+5",
  " 5",
  "5 ",
  "g",
] as const;
const extensions = [";a", ";a=b", " ; a = b", ';a="b"', ';a="\\"\t\xe4;"', ";A-b.c=~"] as const;
const wrongExtensions = [";", ";a=", ';a="b', ';a="\x01"', ';a="b"c', " ", ",a", ";a b", ";\xe4", ';a="\\'] as const;
const trailers = ["grpc-status: 0", "X-Sum:  a b\t", "Empty:", "Latin: \xe4", "content-md5: x", "x-orlop: 1"] as const;
const wrongTrailers = [
  "Content-Length: 5",
  "transfer-encoding: chunked",
  "HOST: a",
  "Connection: close",
  "Keep-Alive: x",
  "TE: trailers",
  "Cookie: a=b",
  "x_orlop_a: b",
  "x-envoy-a: b",
  "A : b",
  " a: b",
  "a",
  ": b",
  "a: \0",
  "a\xe4: b",
] as const;
const ends = ["\n", "\r", "\r\r\n", "\n\r", "", " \r\n"] as const;

const some = (count: number, text: () => string): string => Array.from({ length: count }, text).join("");
const rarely = (random: Random): boolean => random(6) === 0;
const end = (random: Random): string => (random(12) === 0 ? pick(ends, random) : "\r\n");

function line(random: Random): string {
  const size = rarely(random) ? pick(wrongSizes, random) : pick(sizes, random);
  const behind = some(random(4) === 0 ? random(4) : 0, () => {
    return random(5) === 0 ? pick(wrongExtensions, random) : pick(extensions, random);
  });
  const long = random(20) === 0 ? `;${"x".repeat(235 + random(30))}` : "";
  return `${size}${behind}${long}${end(random)}${random(2) === 0 ? "data\r\n" : ""}`;
}

function section(random: Random): string {
  const count = random(20) === 0 ? 28 + random(8) : random(4);
  const long = random(100) === 0 ? `L: ${"x".repeat(8_192 - 40 + random(60))}\r\n` : "";
  const wrong = rarely(random) ? `${pick(wrongTrailers, random)}${end(random)}` : "";
  return `${some(count, () => `${pick(trailers, random)}${random(40) === 0 ? pick(ends, random) : "\r\n"}`)}${long}${wrong}${end(random)}`;
}

function text(kind: ChunkKind, random: Random): string {
  if (kind === "chunk line") return line(random);
  return kind === "trailers" ? section(random) : `${end(random)}${random(2) === 0 ? "5\r\n" : ""}`;
}

/** One in eight is cut short, one in eight is changed. */
export function randomChunk(random: Random): { readonly kind: ChunkKind; readonly bytes: Buffer } {
  const kind = pick(chunkKinds, random);
  const bytes = Buffer.from(text(kind, random), "latin1");
  const fate = random(8);
  if (fate === 0) return { kind, bytes: bytes.subarray(0, random(bytes.length + 1)) };
  return { kind, bytes: fate === 1 ? mutated(bytes, bytes, random) : bytes };
}
