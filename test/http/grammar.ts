// tests · the grammar of HTTP/1 heads, after RFC 9112 and RFC 9110 and with the names of their rules. The engine's C++ reads byte by
// byte; this cuts the text into lines and asks regular expressions. Both must say the same of every string of bytes.
import type { Field, Framing, Head, HeadKind, HeadRefusal, KnownName, Span } from "./head.ts";
import { knownNames } from "./head.ts";

const tchar = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]";
const token = new RegExp(`^${tchar}+$`);
const tokenBegun = new RegExp(`^${tchar}*$`);
const methodAndSpace = new RegExp(`^${tchar}+ `);
const targetBytes = /^[!-"$-[\]-~]*/;
const versionBegun = /^(?:H(?:T(?:T(?:P(?:\/(?:\d\.?)?)?)?)?)?)?$/;
const statusBegun = /^(?: (?:[1-9]\d?)?)?$/;
const statusAndReason = /^ ([1-9]\d\d)(?: [\t -~\x80-\xff]*)?$/;
const nameAndColon = new RegExp(`^${tchar}+:`);
const fieldContent = /^[\t -~\x80-\xff]*$/;
const uriHost = /^(?:\[[\d:.a-f]{2,}\]|[-.~\w]+)(?::(\d{0,5}))?$/i;
const absoluteForm = /^http:\/\/([^/?]*)([^?]*)/i;
const originForm = /^\/[^?]*/;

const MOST_BYTES = 60 * 1024;
const MOST_FIELDS = 100;
const MOST_OPTIONS = 16;

/** Ended by CRLF, by a CR or LF that is alone, or by the last byte. */
type Line = {
  readonly at: number;
  readonly text: string;
  readonly end: "CRLF" | "alone" | "cut";
  readonly next: number;
};

export function lineAt(text: string, at: number): Line {
  const length = text.slice(at).search(/[\r\n]/);
  const stop = length < 0 ? text.length : at + length;
  const rest = text.slice(stop, stop + 2);
  const end = rest === "\r\n" ? "CRLF" : rest === "" || rest === "\r" ? "cut" : "alone";
  return { at, text: text.slice(at, stop), end, next: stop + 2 };
}

/** For a line that is right so far: its end decides. */
function unlessEnded<Refusal>(line: Line, refusal: Refusal): Refusal | "line-end" | "head-end" {
  return line.end === "CRLF" ? refusal : line.end === "alone" ? "line-end" : "head-end";
}

type StartLine = Pick<Head, "method" | "target" | "status" | "minor">;

function version(text: string, line: Line): number | HeadRefusal {
  const found = /^HTTP\/(\d)\.(\d)/.exec(text);
  if (!found) return versionBegun.test(text) ? unlessEnded(line, "start-line") : "start-line";
  return found[1] === "1" && (found[2] === "0" || found[2] === "1") ? Number(found[2]) : "version";
}

function requestLine(line: Line): StartLine | HeadRefusal {
  const method = methodAndSpace.exec(line.text)?.[0];
  if (method === undefined) return tokenBegun.test(line.text) ? unlessEnded(line, "start-line") : "start-line";
  const rest = line.text.slice(method.length);
  const target = targetBytes.exec(rest)?.[0] ?? "";
  if (rest === target) return unlessEnded(line, "start-line");
  if (rest[target.length] !== " ") return "target";
  if (target === "") return "start-line";
  const behind = rest.slice(target.length + 1);
  const minor = version(behind, line);
  if (typeof minor === "string") return minor;
  if (behind.length > 8) return "start-line";
  if (line.end !== "CRLF") return unlessEnded(line, "start-line");
  return {
    method: [line.at, method.length - 1],
    target: [line.at + method.length, target.length],
    status: 0,
    minor,
  };
}

function statusLine(line: Line): StartLine | HeadRefusal {
  const minor = version(line.text, line);
  if (typeof minor === "string") return minor;
  const rest = line.text.slice(8);
  const found = statusAndReason.exec(rest);
  if (!found) return statusBegun.test(rest) ? unlessEnded(line, "start-line") : "start-line";
  if (line.end !== "CRLF") return unlessEnded(line, "start-line");
  return { method: [0, 0], target: [0, 0], status: Number(found[1]), minor };
}

const isName = (text: string): text is KnownName => knownNames.some((name) => name === text);

function knownName(name: string): KnownName {
  const small = name.toLowerCase();
  if (/^x[^a-z0-9]orlop[^a-z0-9]/.test(small)) return "x-orlop-";
  return isName(small) ? small : "";
}

/** Value and where it begins, without OWS. */
export function trimmed(text: string): { readonly text: string; readonly at: number } {
  const at = /^[ \t]*/.exec(text)?.[0].length ?? 0;
  return { text: text.slice(at).replace(/[ \t]+$/, ""), at };
}

const elements = (value: string): string[] => value.split(",").map((element) => trimmed(element).text);

export type FieldLines<Refusal> =
  | { readonly fields: readonly Field[]; readonly end: number }
  | { readonly refusal: Refusal };

/** From `at` to behind the empty line. */
export function fieldLines(text: string, at: number, most: number): FieldLines<HeadRefusal> {
  const fields: Field[] = [];
  for (let line = lineAt(text, at); ; line = lineAt(text, line.next)) {
    if (line.text === "") {
      if (line.end === "CRLF") return { fields, end: line.next };
      return { refusal: unlessEnded(line, "field-name") };
    }
    if (/^[ \t]/.test(line.text)) return { refusal: "obs-fold" };
    if (fields.length === most) return { refusal: "too-many-fields" };
    const name = nameAndColon.exec(line.text)?.[0].slice(0, -1);
    if (name === undefined) {
      return { refusal: tokenBegun.test(line.text) ? unlessEnded(line, "field-name") : "field-name" };
    }
    const behind = line.text.slice(name.length + 1);
    if (!fieldContent.test(behind)) return { refusal: "field-value" };
    if (line.end !== "CRLF") return { refusal: unlessEnded(line, "field-value") };
    const value = trimmed(behind);
    fields.push({
      name: [line.at, name.length],
      value: [line.at + name.length + 1 + value.at, value.text.length],
      known: knownName(name),
      named: false,
    });
  }
}

function isHost(text: string): boolean {
  const found = uriHost.exec(text);
  return found !== null && Number(found[1] ?? 0) <= 65_535;
}

type Target = { readonly path: Span; readonly authority: Span };

function targetOf(target: string, at: number, method: string): Target | HeadRefusal {
  if (target === "*" && method === "OPTIONS") return { path: [at, 1], authority: [0, 0] };
  const origin = originForm.exec(target)?.[0];
  if (origin !== undefined) return { path: [at, origin.length], authority: [0, 0] };
  const [, authority, path = ""] = absoluteForm.exec(target) ?? [];
  if (authority === undefined || !isHost(authority)) return "target";
  const from = at + "http://".length;
  return { path: [from + authority.length, path.length], authority: [from, authority.length] };
}

export function isProtected(name: string): boolean {
  return /^(?:host|content-length|transfer-encoding|authorization|cookie|forwarded|x-real-ip|baggage|trace(?:parent|state)|x-(?:forwarded|envoy)-.*|x[^a-z0-9]orlop[^a-z0-9].*)$/i.test(
    name,
  );
}

/** The fields of a head as text, asked by name. */
class Fields {
  readonly #text: string;
  readonly all: readonly Field[];
  constructor(text: string, all: readonly Field[]) {
    this.#text = text;
    this.all = all;
  }
  part([at, length]: Span): string {
    return this.#text.slice(at, at + length);
  }
  values(name: KnownName): string[] {
    return this.all.filter(({ known }) => known === name).map(({ value }) => this.part(value));
  }
  lists(name: KnownName): string[] {
    return this.values(name).flatMap(elements);
  }
  /** Case does not count. */
  has(name: KnownName, element: string): boolean {
    return this.lists(name).some((found) => found.toLowerCase() === element);
  }
}

type Announced = { readonly framing: Framing; readonly contentLength: number };

/** RFC 9112 section 6.3, but for what a response's status says. */
function announced(fields: Fields, minor: number, otherwise: Framing): Announced | HeadRefusal {
  const codings = fields.values("transfer-encoding");
  const lengths = fields.values("content-length");
  const [coding, length] = [codings[0], lengths[0]];
  if (coding !== undefined && length !== undefined) return "length-and-encoding";
  if (coding !== undefined) {
    if (minor === 0) return "encoding-version";
    if (codings.length > 1) return "encoding";
    const list = elements(coding.toLowerCase());
    if (!list.every((element) => token.test(element)) || list.includes("identity")) return "encoding";
    if (list.indexOf("chunked") !== list.length - 1) return "encoding";
    return list.length === 1 ? { framing: "chunked", contentLength: 0 } : "coding";
  }
  if (length === undefined) return { framing: otherwise, contentLength: 0 };
  if (lengths.length > 1) return "length-twice";
  const fits = /^\d{1,16}$/.test(length) && BigInt(length) <= Number.MAX_SAFE_INTEGER;
  return fits ? { framing: "length", contentLength: Number(length) } : "length";
}

/** RFC 9112 section 6.3: what a response of this status, or to HEAD, has in truth. */
function ofResponse(said: Announced, status: number, toHead: boolean): Announced | HeadRefusal {
  const never = status < 200 || status === 204;
  if (never && (said.framing === "chunked" || said.contentLength > 0)) return "framing-forbidden";
  return never || status === 304 || toHead ? { ...said, framing: "none" } : said;
}

function hostOf(fields: Fields, minor: number, { authority }: Target): Span | HeadRefusal {
  const hosts = fields.all.filter(({ known }) => known === "host");
  if (hosts.length > 1) return "host-twice";
  const [host] = hosts;
  if (host === undefined) return minor === 1 ? "host-missing" : authority;
  const text = fields.part(host.value);
  if (text !== "" && !isHost(text)) return "host";
  if (authority[1] === 0) return host.value;
  return text.toLowerCase() === fields.part(authority).toLowerCase() ? authority : "host-mismatch";
}

function connectionFault(options: readonly string[]): HeadRefusal | undefined {
  for (const [index, option] of options.entries()) {
    if (index >= MOST_OPTIONS || !token.test(option)) return "connection";
    if (isProtected(option)) return "connection-names";
  }
  return undefined;
}

function isProtocol(text: string): boolean {
  const [name = "", version, ...more] = text.split("/");
  return token.test(name) && (version === undefined || token.test(version)) && more.length === 0;
}

type Manners = Omit<Head, keyof StartLine | keyof Target | keyof Announced>;

function mannersOf(fields: Fields, minor: number, kind: HeadKind, framing: Framing): Manners | HeadRefusal {
  const options = fields.lists("connection").filter((option) => option !== "");
  const fault = connectionFault(options);
  if (fault !== undefined) return fault;
  const named = new Set(options.map((option) => option.toLowerCase()));
  const protocols = fields.lists("upgrade").filter((protocol) => protocol !== "");
  if (!protocols.every(isProtocol)) return "upgrade";
  const upgrades = minor === 1 && named.has("upgrade") ? protocols.map((protocol) => protocol.toLowerCase()) : [];
  const asked = kind === "request";
  return {
    persistent: framing !== "until-close" && !named.has("close") && (minor === 1 || named.has("keep-alive")),
    expectsContinue: asked && minor === 1 && fields.has("expect", "100-continue"),
    acceptsTrailers: asked && fields.has("te", "trailers"),
    upgradesWebsocket: upgrades.includes("websocket"),
    upgradesOther: upgrades.some((protocol) => protocol !== "websocket"),
    fields: fields.all.map((field) => ({ ...field, named: named.has(fields.part(field.name).toLowerCase()) })),
  };
}

/** The head that the bytes are, or why they are none. */
export function readHead(kind: HeadKind, bytes: Buffer): Head | HeadRefusal {
  if (bytes.length > MOST_BYTES) return "head-too-large";
  const text = bytes.toString("latin1");
  const first = lineAt(text, kind === "request" && text.startsWith("\r\n") ? 2 : 0);
  const start = kind === "request" ? requestLine(first) : statusLine(first);
  if (typeof start === "string") return start;
  const lines = fieldLines(text, first.next, MOST_FIELDS);
  if ("refusal" in lines) return lines.refusal;
  if (lines.end !== text.length) return "head-end";

  const fields = new Fields(text, lines.fields);
  const { minor, status } = start;
  if (kind !== "request") {
    const said = announced(fields, minor, "until-close");
    const body = typeof said === "string" ? said : ofResponse(said, status, kind === "response to HEAD");
    if (typeof body === "string") return body;
    const manners = mannersOf(fields, minor, kind, body.framing);
    return typeof manners === "string" ? manners : { ...start, path: [0, 0], authority: [0, 0], ...body, ...manners };
  }
  const method = fields.part(start.method);
  if (method === "CONNECT") return "connect";
  const target = targetOf(fields.part(start.target), start.target[0], method);
  if (typeof target === "string") return target;
  const authority = hostOf(fields, minor, target);
  if (typeof authority === "string") return authority;
  const body = announced(fields, minor, "none");
  if (typeof body === "string") return body;
  const manners = mannersOf(fields, minor, kind, body.framing);
  return typeof manners === "string" ? manners : { ...start, ...target, authority, ...body, ...manners };
}
