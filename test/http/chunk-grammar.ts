// tests · the grammar of bodies in chunks, after RFC 9112 section 7.1; each answer is the line of test/fuzz/native/http1_reader.cc.
// The engine's C++ walks over the bytes; this asks regular expressions.
import { fieldLines, isProtected, lineAt } from "./grammar.ts";
import { fieldText } from "./head.ts";

export const chunkKinds = ["chunk line", "end of chunk", "trailers"] as const;
export type ChunkKind = (typeof chunkKinds)[number];

/** Each refusal of a body in chunks with the status that answers it. */
export const chunkRefusals = {
  "chunk-line-too-long": 400,
  "chunk-line": 400,
  "chunk-size": 400,
  "chunk-end": 400,
  "line-end": 400,
  "trailers-too-large": 431,
  "too-many-fields": 431,
  "trailer-field": 400,
  "obs-fold": 400,
  "field-name": 400,
  "field-value": 400,
} as const;
export type ChunkRefusal = keyof typeof chunkRefusals;

const token = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+";
const quoted = '"(?:[\\t !#-\\[\\]-~\\x80-\\xff]|\\\\[\\t -~\\x80-\\xff])*"';
const extension = `[ \\t]*;[ \\t]*${token}(?:[ \\t]*=[ \\t]*(?:${token}|${quoted}))?`;
const chunkLine = new RegExp(`^([0-9A-Fa-f]+)((?:${extension})*)$`);

const MOST_LINE = 256;
const MOST_TRAILERS = 8 * 1024;

const refused = (refusal: ChunkRefusal): string => `${refusal} ${chunkRefusals[refusal]}`;

function ofChunkLine(bytes: Buffer): string {
  const line = lineAt(bytes.toString("latin1", 0, MOST_LINE), 0);
  if (line.end === "cut") return bytes.length < MOST_LINE ? "chunk 0 0 0" : refused("chunk-line-too-long");
  if (line.end === "alone") return refused("line-end");
  const [, digits, extensions = ""] = chunkLine.exec(line.text) ?? [];
  if (digits === undefined) return refused("chunk-line");
  const size = BigInt(`0x${digits}`);
  if (digits.length > 16 || size > Number.MAX_SAFE_INTEGER) return refused("chunk-size");
  return `chunk ${size} ${line.next} ${extensions.length}`;
}

function ofChunkEnd(bytes: Buffer): string {
  const text = bytes.toString("latin1", 0, 2);
  if (text === "\r\n") return "end 2";
  return "\r\n".startsWith(text) ? "end 0" : refused("chunk-end");
}

function ofTrailers(bytes: Buffer): string {
  const text = bytes.toString("latin1", 0, MOST_TRAILERS);
  const lines = fieldLines(text, 0, 32);
  if ("fields" in lines) {
    const forbidden = lines.fields.some(({ name: [at, length], known }) => {
      return known !== "" || isProtected(text.slice(at, at + length));
    });
    if (forbidden) return refused("trailer-field");
    return ["trailers", lines.end, ...lines.fields.map(fieldText)].join(" ");
  }
  const { refusal } = lines;
  if (refusal === "head-end") return bytes.length < MOST_TRAILERS ? "trailers 0" : refused("trailers-too-large");
  if (!(refusal in chunkRefusals)) throw new Error(`no refusal of trailers: ${refusal}`);
  return refused(refusal as ChunkRefusal);
}

const readers = { "chunk line": ofChunkLine, "end of chunk": ofChunkEnd, trailers: ofTrailers } as const;

export function readChunk(kind: ChunkKind, bytes: Buffer): string {
  return readers[kind](bytes);
}
