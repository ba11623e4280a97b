// test peers · bodies of mutants, and the fields that frame them.
import type { Random } from "../../fuzz/mutate.ts";

export type Framed = { readonly fields: readonly string[]; readonly body: string };

const pick = <T>(random: Random, from: readonly T[]): T => from[random(from.length)] as T;

const payloads = (canary: string): readonly string[] => [
  "",
  "x",
  "body",
  canary,
  `0\r\n\r\n${canary}`,
  `4\r\nbody\r\n0\r\n\r\n${canary}`,
  `\r\n${canary}`,
  "y".repeat(300),
];

const size = (text: string): string => text.length.toString(16);
const honestSizes: readonly ((hex: string) => string)[] = [
  (hex) => hex,
  (hex) => hex,
  (hex) => hex.toUpperCase(),
  (hex) => `000${hex}`,
  (hex) => `${hex};x`,
  (hex) => `${hex};x=y`,
  (hex) => `${hex};x="y;z"`,
  (hex) => `${hex};x="\\""`,
  (hex) => `${hex} ; x = y`,
  (hex) => `${hex};a;b=c`,
];
const hostileSizes: readonly ((hex: string) => string)[] = [
  (hex) => `0x${hex}`,
  (hex) => `+${hex}`,
  (hex) => `-${hex}`,
  (hex) => ` ${hex}`,
  (hex) => `${hex} `,
  (hex) => `${hex}\t`,
  (hex) => `${hex};`,
  (hex) => `${hex};\n`,
  (hex) => `${hex};x\n`,
  (hex) => `${hex};x="\r\n"`,
  (hex) => `${hex};x="\n`,
  (hex) => `${hex};x\r`,
  (hex) => `${hex};\0`,
  (hex) => `${hex} x`,
  (hex) => `${hex},x`,
  (hex) => `${hex}_0`,
  (hex) => `1000000000000000${hex}`,
  (hex) => `0000000000000000000${hex}`,
  () => "",
  () => "g",
  (hex) => `${hex}\r`,
  (hex) => `${hex};${"x".repeat(300)}`,
];
/** Behind the data of a chunk, or behind its line. */
const hostileEnds = ["\n", "\r", "", "\r\r\n", "\n\r\n", "  \r\n", "x\r\n", "\r\nx", "\0\0"];
const honestTrailers = ["", "", "", "X-Sum: 1\r\n", "x-a:b\r\nX-C:\r\n"];
const hostileTrailers = [
  "Content-Length: 4\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Host: b\r\n",
  "X: y\n",
  "X : y\r\n",
  " X: y\r\n",
  "X: y\r\n z\r\n",
  "X\r\n",
  "X: \0\r\n",
  "X-Forwarded-For: 10.0.0.9\r\n",
  "X: y\r",
];
/** In place of the empty line behind the trailers. */
const hostileTails = ["\n", "\r", "", "\r\r\n", "X", "\n\r\n"];

/** The payload as chunks of random sizes; `hostile`: with one fault. */
export function chunked(random: Random, payload: string, hostile: boolean): string {
  const parts: string[] = [];
  for (let at = 0; at < payload.length; ) {
    const next = at + 1 + random(Math.max(payload.length - at, 1));
    parts.push(payload.slice(at, next));
    at = next;
  }
  const where = hostile ? random(5) : -1;
  const wrong = random(Math.max(parts.length, 1));
  const chunks = parts.map((part, nth) => {
    const here = hostile && nth === wrong;
    const line = pick(random, here && where === 0 ? hostileSizes : honestSizes)(size(part));
    const off = here && where === 4 ? (part.length + pick(random, [1, 2, -1])).toString(16) : line;
    return `${off}${here && where === 1 && random(2) === 0 ? pick(random, hostileEnds) : "\r\n"}${part}${here && where === 1 ? pick(random, hostileEnds) : "\r\n"}`;
  });
  const last = pick(random, [
    "0",
    "0",
    "0",
    "000",
    "0;x=y",
    where === 0 && parts.length === 0 ? pick(random, hostileSizes)("0") : "0",
  ]);
  const trailers = pick(random, where === 2 ? hostileTrailers : honestTrailers);
  const tail = where === 3 ? pick(random, hostileTails) : "\r\n";
  return `${chunks.join("")}${last}\r\n${trailers}${tail}`;
}

const chunkedFields = [
  "Transfer-Encoding: chunked",
  "Transfer-Encoding: chunked",
  "transfer-encoding:Chunked ",
  "Transfer-Encoding: \tCHUNKED",
];

export function bodyOf(random: Random, canary: string, hostile: boolean): Framed {
  const payload = pick(random, payloads(canary));
  const length = (text: string): string =>
    pick(random, [`Content-Length: ${text}`, `content-length:${text}\t`, `Content-Length:  00${text}`]);
  switch (random(hostile ? 6 : 4)) {
    case 0:
      return hostile ? { fields: [], body: payload } : { fields: [], body: "" };
    case 1:
      return {
        fields: [length(String(hostile ? Math.max(0, payload.length + pick(random, [-2, -1, 1, 2])) : payload.length))],
        body: payload,
      };
    case 2:
    case 3:
      return { fields: [pick(random, chunkedFields)], body: chunked(random, payload, hostile) };
    case 4: {
      // Both framings, in either order: readers that believe different fields end at different bytes.
      const body = chunked(random, payload, random(4) === 0);
      const both = [
        pick(random, chunkedFields),
        length(pick(random, [String(body.length), "4", "0", String(payload.length)])),
      ];
      return { fields: random(2) === 0 ? both : both.reverse(), body };
    }
    default:
      return { fields: ["Transfer-Encoding: chunked", length("0")], body: `0\r\n\r\n${payload}` };
  }
}
