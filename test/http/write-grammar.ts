// tests · how a head, a chunk and a reply are written, after docs/reference/http1.md; each answer is the line of
// test/fuzz/native/http1_reader.cc.
import { type Framing, framings, type Head, type HeadKind, type Span } from "./head.ts";

export const options = ["", "close", "keep-alive"] as const;
export type Option = (typeof options)[number];
/** Without a value, fields with the name are taken out. */
export type Pair = readonly [name: string, value?: string | undefined];

export type Edit = {
  readonly framing: Framing;
  readonly length: number;
  readonly minor: number;
  readonly option: Option;
  readonly websocket: boolean;
  readonly trailers: boolean;
  readonly withoutEnvoys: boolean;
  readonly keepAlive: boolean;
  readonly path?: string;
  readonly pairs: readonly Pair[];
};

export function unchanged(head: Head): Edit {
  const lasting = head.status === 0 && head.minor === 0 ? "keep-alive" : "";
  return {
    framing: head.framing,
    length: head.framing === "length" ? head.contentLength : 0,
    minor: head.minor,
    option: head.persistent ? lasting : "close",
    websocket: head.upgradesWebsocket,
    trailers: head.acceptsTrailers,
    withoutEnvoys: false,
    keepAlive: false,
    pairs: [],
  };
}

const written = (text: string): string => `written ${Buffer.from(text, "latin1").toString("hex")}`;
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const value = /^[\t\x20-\x7e\x80-\xff]*$/;
const path = /^\/[\x21\x22\x24-\x3e\x40-\x5b\x5d-\x7e]*$/;
const ofTheConnection =
  /^(?:connection|content-length|http2-settings|keep-alive|proxy-connection|te|transfer-encoding|upgrade)$/i;
const notOurs =
  /^(?:connection|content-length|expect|host|http2-settings|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade)$/i;

const mayBeAdded = ([name, text = ""]: Pair): boolean => token.test(name) && !notOurs.test(name) && value.test(text);

function isRefused(head: Head, text: string, edit: Edit): boolean {
  if (!edit.pairs.every(mayBeAdded)) return true;
  const hasBody = edit.framing === "chunked" || edit.framing === "length";
  if (head.status > 0) return hasBody && (head.status < 200 || head.status === 204);
  if (edit.framing === "until-close") return true;
  if (edit.minor === 0 && (edit.framing === "chunked" || edit.websocket)) return true;
  return edit.path !== undefined && (!path.test(edit.path) || text === "*");
}

/** `text`: the head as it was read. */
export function writeHead(head: Head, text: string, edit: Edit): string {
  const part = ([at, length]: Span): string => text.slice(at, at + length);
  if (isRefused(head, part(head.path), edit)) return "written ";
  const lines: string[] = [];
  if (head.status > 0) {
    const reason = /^HTTP\/1\.[01] \d{3} ([^\r]*)/.exec(text)?.[1] ?? "";
    lines.push(`HTTP/1.1 ${head.status} ${reason}`);
  } else {
    const [at, length] = head.path;
    const behind = text.slice(at + length, head.target[0] + head.target[1]);
    const target = (edit.path ?? (length === 0 ? "/" : part(head.path))) + behind;
    lines.push(`${part(head.method)} ${target} HTTP/1.${edit.minor}`);
  }
  const replaced = new Set(edit.pairs.map(([name]) => name.toLowerCase()));
  const fields = head.fields.map((field) => ({ ...field, name: part(field.name), value: part(field.value) }));
  const hasHost = edit.minor === 1 || head.authority[1] > 0;
  if (head.status === 0 && hasHost && !fields.some(({ known }) => known === "host")) {
    lines.push(`Host: ${part(head.authority)}`);
  }
  for (const { name, value, named, known } of fields) {
    const passes = edit.keepAlive && name.toLowerCase() === "keep-alive";
    if (!passes && (named || ofTheConnection.test(name) || (known === "x-orlop-" && head.status === 0))) continue;
    if (edit.withoutEnvoys && /^x[^a-z0-9](?:envoy[^a-z0-9].*|forwarded[^a-z0-9]client[^a-z0-9]cert)$/i.test(name))
      continue;
    if (!replaced.has(name.toLowerCase())) lines.push(`${name}: ${value}`);
  }
  for (const [name, value] of edit.pairs) if (value !== undefined) lines.push(`${name}: ${value}`);
  if (edit.framing === "chunked") lines.push("Transfer-Encoding: chunked");
  const announces = head.status >= 200 && head.status !== 204 && fields.some(({ known }) => known === "content-length");
  if (edit.framing === "length") lines.push(`Content-Length: ${edit.length}`);
  else if (edit.framing === "none" && announces) lines.push(`Content-Length: ${head.contentLength}`);
  const option = edit.framing === "until-close" ? "close" : edit.option;
  if (edit.websocket) lines.push("Upgrade: websocket");
  if (edit.trailers) lines.push("TE: trailers");
  const connection = [option, edit.websocket ? "Upgrade" : "", edit.trailers ? "TE" : ""].filter((name) => name !== "");
  if (connection.length > 0) lines.push(`Connection: ${connection.join(", ")}`);
  return written(`${lines.join("\r\n")}\r\n\r\n`);
}

/** A text with its length, as the reader's questions have it. */
function sized(text: string | undefined): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(text === undefined ? 0xffff : text.length);
  return Buffer.concat([bytes, Buffer.from(text ?? "", "latin1")]);
}

const kinds: Readonly<Record<HeadKind, number>> = { request: 0, response: 1, "response to HEAD": 2 };

/** The question to the C++; without an edit the head is written unchanged. */
export function headQuestion(kind: HeadKind, bytes: Buffer, edit?: Edit): Buffer {
  const head = Buffer.alloc(16);
  head[0] = kinds[kind];
  head[1] = Number(edit === undefined);
  head[2] = framings.indexOf(edit?.framing ?? "none");
  head.writeBigUInt64LE(BigInt(edit?.length ?? 0), 3);
  head[11] = edit?.minor ?? 1;
  head[12] = options.indexOf(edit?.option ?? "");
  head[13] = Number(edit?.websocket === true);
  head[14] = Number(edit?.trailers === true);
  head[15] = Number(edit?.withoutEnvoys === true) + 2 * Number(edit?.keepAlive === true);
  const pairs = edit?.pairs ?? [];
  const texts = pairs.flatMap(([name, value]) => [sized(name), sized(value)]);
  return Buffer.concat([head, sized(edit?.path), Buffer.from([pairs.length]), ...texts, bytes]);
}

/** `section`: trailers as they were read, of a last chunk. */
export function chunkQuestion(size: number, section = ""): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(size));
  return Buffer.concat([bytes, Buffer.from(section, "latin1")]);
}

export function replyQuestion(status: number, option: Option, toHead: boolean, pair: Pair, body: string): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16LE(status);
  head[2] = options.indexOf(option);
  head[3] = Number(toHead);
  return Buffer.concat([head, sized(pair[0]), sized(pair[1]), sized(body)]);
}
