// tests · the opinion of Node's own parser of HTTP/1 (llhttp), with all its lenient switches off.
import { createRequire } from "node:module";
import type { Framing, HeadKind } from "./head.ts";

type Parser = {
  initialize(type: number, resource: object, maxHeaderSize: number, lenient: number): void;
  execute(bytes: Buffer): number | (Error & { readonly code: string; readonly reason: string });
  /** Callbacks, under the numbers of ParserClass. */
  [event: number]: ((part: Buffer) => void) | undefined;
};
type ParserClass = {
  new (): Parser;
  readonly REQUEST: number;
  readonly RESPONSE: number;
  readonly kOnBody: number;
  readonly kOnMessageComplete: number;
};

// No types are published for it: @types/node has the public modules only.
const { HTTPParser } = createRequire(import.meta.url)("node:_http_common") as { readonly HTTPParser: ParserClass };

/** Refusals that are llhttp's own: its code, what the head then has, and the sentence that lets us differ in the comment. */
const exceptions: readonly (readonly [code: string, has: RegExp])[] = [
  // It has a list of methods. RFC 9110 section 16.1: more may be defined at any time.
  ["HPE_INVALID_METHOD", /^/],
  // It takes a tab behind the coding for a part of it. RFC 9110 section 5.5: a value does not have the whitespace around it.
  ["HPE_INVALID_TRANSFER_ENCODING", /chunked[ \t]*\t[ \t]*\r\n/i],
];

/** Initialized anew for each head: the collector does not free a parser by itself. */
const parser = new HTTPParser();

/** Its code, undefined for what it accepts and for what it alone refuses. */
export function whyRefusedByLlhttp(kind: HeadKind, bytes: Buffer): string | undefined {
  parser.initialize(kind === "request" ? HTTPParser.REQUEST : HTTPParser.RESPONSE, {}, 1 << 20, 0);
  const said = parser.execute(bytes);
  if (typeof said === "number") return undefined;
  const text = bytes.toString("latin1");
  if (exceptions.some(([code, has]) => said.code === code && has.test(text))) return undefined;
  return `${said.code} ${said.reason}`;
}

/** Payload (hex) of a request, and whether it ended with its last byte. */
export type ByLlhttp = { readonly payload: string; readonly whole: boolean };
type Failed = { readonly code: string; readonly reason: string };

function read(bytes: Buffer): ByLlhttp | Failed {
  const parts: Buffer[] = [];
  let whole = false;
  parser.initialize(HTTPParser.REQUEST, {}, 1 << 20, 0);
  parser[HTTPParser.kOnBody] = (part: Buffer): void => {
    parts.push(Buffer.from(part));
  };
  parser[HTTPParser.kOnMessageComplete] = (): void => {
    whole = true;
  };
  const said = parser.execute(bytes);
  parser[HTTPParser.kOnBody] = undefined;
  parser[HTTPParser.kOnMessageComplete] = undefined;
  if (typeof said !== "number") return said;
  return { payload: Buffer.concat(parts).toString("hex"), whole };
}

const chunkCodes: readonly string[] = ["HPE_INVALID_CHUNK_SIZE", "HPE_STRICT"];
/** A chunk line with whitespace, which llhttp refuses although RFC 9112 section 7.1.1 has recipients parse it. */
const isBlankInChunk = ({ code }: Failed, body: string): boolean =>
  chunkCodes.includes(code) && /^[0-9a-f]+[^\r\n]*[ \t]/im.test(body);

/** Of a request with a body of these bytes. Undefined where llhttp alone refuses a chunk line; throws what else it refuses. */
export function bodyByLlhttp(framing: Framing, length: number, bytes: Buffer): ByLlhttp | undefined {
  const announced = framing === "chunked" ? "Transfer-Encoding: chunked\r\n" : "";
  const sized = framing === "length" ? `Content-Length: ${length}\r\n` : "";
  const head = `POST / HTTP/1.1\r\nHost: a\r\n${announced}${sized}\r\n`;
  const said = read(Buffer.concat([Buffer.from(head), bytes]));
  if (!("code" in said)) return said;
  if (isBlankInChunk(said, bytes.toString("latin1"))) return undefined;
  throw said;
}

/** Of a whole request. Undefined where llhttp alone refuses it, or stops behind its head because it offers an upgrade. */
export function requestByLlhttp(bytes: Buffer): ByLlhttp | Failed | undefined {
  const text = bytes.toString("latin1");
  if (/^upgrade:/im.test(text)) return undefined;
  const said = read(bytes);
  if (!("code" in said)) return said;
  const { code, reason } = said;
  const isKnown = isBlankInChunk(said, text) || exceptions.some(([known, has]) => code === known && has.test(text));
  return isKnown ? undefined : { code, reason };
}
