// tests · where a body ends, what is payload and which trailers it has, found on all its bytes at once; each answer is the line of
// test/fuzz/native/http1_reader.cc. The engine's C++ is a state machine that gets the bytes in pieces.
import { chunkRefusals, readChunk } from "./chunk-grammar.ts";
import { type Framing, framings } from "./head.ts";

/** Refusals of a body as a whole, each with the status that answers it. */
export const bodyRefusals = { "extensions-too-large": 400, "body-cut": 400 } as const;

export type Body = {
  readonly framing: Framing;
  /** Of framing `length`, in bytes. */
  readonly length: number;
  /** What comes on the connection behind the head; other messages may follow the body. */
  readonly bytes: Buffer;
  /** The connection ends behind them. */
  readonly closes: boolean;
};

const MOST_EXTENSIONS = 16 * 1024;
const MOST_TRAILERS = 8 * 1024;

export type BodyFound = {
  /** `end`, `wait`, or a refusal. */
  readonly word: string;
  readonly used: number;
  readonly payload: Buffer;
  readonly fields?: string;
  /** Names of the trailers. */
  readonly trailers: readonly string[];
};

function chunked(bytes: Buffer): BodyFound {
  const data: Buffer[] = [];
  let extensions = 0;
  let at = 0;
  const found = (word: string, fields = "", trailers: readonly string[] = []): BodyFound => {
    return { word, used: at, payload: Buffer.concat(data), fields, trailers };
  };
  for (;;) {
    const [word = "", size = "0", used = "0", more = "0"] = readChunk("chunk line", bytes.subarray(at)).split(" ");
    if (word !== "chunk") return found(word);
    if (used === "0") return found("wait");
    extensions += Number(more);
    if (extensions > MOST_EXTENSIONS) return found("extensions-too-large");
    at += Number(used);
    if (size === "0") break;
    const chunk = bytes.subarray(at, at + Number(size));
    data.push(chunk);
    at += chunk.length;
    if (chunk.length < Number(size)) return found("wait");
    const [end = "", crlf = "0"] = readChunk("end of chunk", bytes.subarray(at)).split(" ");
    if (end !== "end") return found(end);
    if (crlf === "0") return found("wait");
    at += 2;
  }
  // The section is judged when its empty line has come, or cannot come any more.
  const section = bytes.toString("latin1", at, at + MOST_TRAILERS);
  const end = /^\r\n|\n\r?\n/.exec(section);
  if (end === null && section.length < MOST_TRAILERS) return found("wait");
  const come = end === null ? section.length : end.index + end[0].length;
  const [word = "", used = "0", ...fields] = readChunk("trailers", bytes.subarray(at, at + come)).split(" ");
  if (word !== "trailers") return found(word);
  at += Number(used);
  const names = fields.map((field) => {
    const [nameAt = 0, length = 0] = field.split(",").map(Number);
    return section.slice(nameAt, nameAt + length);
  });
  return found("end", fields.map((field) => ` ${field}`).join(""), names);
}

export function findBody({ framing, length, bytes }: Body): BodyFound {
  if (framing === "none") return { word: "end", used: 0, payload: Buffer.alloc(0), trailers: [] };
  if (framing === "chunked") return chunked(bytes);
  const payload = framing === "length" ? bytes.subarray(0, length) : bytes;
  const whole = framing === "length" && payload.length === length;
  return { word: whole ? "end" : "wait", used: payload.length, payload, trailers: [] };
}

export function readBody(body: Body): string {
  const { word, used, payload, fields = "" } = findBody(body);
  const atClose = body.framing === "until-close" ? "end" : "body-cut";
  const said = word === "wait" && body.closes ? atClose : word;
  return `body ${said} ${used} ${payload.toString("hex")}${fields}`;
}

/** Names of all words that may say how a body ended. */
export const bodyWords: readonly string[] = [
  ...new Set(["end", "wait", ...Object.keys(chunkRefusals), ...Object.keys(bodyRefusals)]),
];

/** The question to the C++: the same body, in pieces of these sizes. */
export function bodyQuestion(body: Body, pieces: readonly number[]): Buffer {
  const head = Buffer.alloc(12 + 2 * pieces.length);
  head[0] = framings.indexOf(body.framing);
  head[1] = Number(body.closes);
  head.writeBigUInt64LE(BigInt(body.length), 2);
  head.writeUInt16LE(pieces.length, 10);
  for (const [index, piece] of pieces.entries()) head.writeUInt16LE(piece, 12 + 2 * index);
  return Buffer.concat([head, body.bytes]);
}
