// tests · what a head of HTTP/1 says, as both readers say it: the C++ (test/fuzz/native/http1_reader.cc prints lineOf) and grammar.ts.

/** Offset and length in bytes. */
export type Span = readonly [at: number, length: number];

/** In the order of Http1Name (native/engine/http/http1_fields.h). */
export const knownNames = [
  "",
  "connection",
  "content-length",
  "expect",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "x-orlop-",
] as const;
export type KnownName = (typeof knownNames)[number];

/** In the order of Http1Framing. */
export const framings = ["none", "length", "chunked", "until-close"] as const;
export type Framing = (typeof framings)[number];

export type Field = { readonly name: Span; readonly value: Span; readonly known: KnownName; readonly named: boolean };

export type Head = {
  readonly method: Span;
  readonly target: Span;
  readonly path: Span;
  readonly authority: Span;
  readonly status: number;
  readonly minor: number;
  readonly framing: Framing;
  readonly contentLength: number;
  readonly persistent: boolean;
  readonly expectsContinue: boolean;
  readonly acceptsTrailers: boolean;
  readonly upgradesWebsocket: boolean;
  readonly upgradesOther: boolean;
  readonly fields: readonly Field[];
};

/** Each refusal of a head with the status that answers it. */
export const headRefusals = {
  "head-too-large": 431,
  "too-many-fields": 431,
  "head-end": 400,
  "line-end": 400,
  "start-line": 400,
  version: 505,
  target: 400,
  "obs-fold": 400,
  "field-name": 400,
  "field-value": 400,
  connect: 501,
  "host-missing": 400,
  "host-twice": 400,
  host: 400,
  "host-mismatch": 400,
  "length-and-encoding": 400,
  "encoding-version": 400,
  encoding: 400,
  coding: 501,
  "length-twice": 400,
  length: 400,
  "framing-forbidden": 400,
  connection: 400,
  "connection-names": 400,
  upgrade: 400,
} as const;
export type HeadRefusal = keyof typeof headRefusals;

/** A request, a response, or a response to HEAD. */
export type HeadKind = "request" | "response" | "response to HEAD";

/** The line that test/fuzz/native/http1_reader.cc prints for this. */
export function lineOf(read: Head | HeadRefusal): string {
  if (typeof read === "string") return `${read} ${headRefusals[read]}`;
  const flags = [
    read.persistent,
    read.expectsContinue,
    read.acceptsTrailers,
    read.upgradesWebsocket,
    read.upgradesOther,
  ];
  return [
    "head",
    ...[read.method, read.target, read.path, read.authority].map((span) => span.join()),
    read.status,
    read.minor,
    framings.indexOf(read.framing),
    read.contentLength,
    flags.map(Number).join(""),
    ...read.fields.map((field) => fieldText(field)),
  ].join(" ");
}

export function fieldText({ name, value, known, named }: Field): string {
  return [...name, ...value, knownNames.indexOf(known), Number(named)].join();
}

/** Back from the line. */
export function headOf(line: string): Head | HeadRefusal {
  const words = line.split(" ");
  const [kind = "", ...rest] = words;
  if (kind !== "head") {
    const refusal = Object.keys(headRefusals).find((name): name is HeadRefusal => name === kind);
    if (refusal === undefined || `${headRefusals[refusal]}` !== rest[0]) throw new Error(`no refusal: ${line}`);
    return refusal;
  }
  const [method, target, path, authority] = rest.slice(0, 4).map(spanOf);
  const [status = 0, minor = 0, framing = 0, contentLength = 0] = rest.slice(4, 8).map(Number);
  const flags = [...(rest[8] ?? "")].map((flag) => flag === "1");
  const none: Span = [0, 0];
  return {
    method: method ?? none,
    target: target ?? none,
    path: path ?? none,
    authority: authority ?? none,
    status,
    minor,
    framing: framings[framing] ?? "none",
    contentLength,
    persistent: flags[0] === true,
    expectsContinue: flags[1] === true,
    acceptsTrailers: flags[2] === true,
    upgradesWebsocket: flags[3] === true,
    upgradesOther: flags[4] === true,
    fields: rest.slice(9).map(fieldOf),
  };
}

function spanOf(text: string): Span {
  const [at = 0, length = 0] = text.split(",").map(Number);
  return [at, length];
}

function fieldOf(text: string): Field {
  const [nameAt = 0, nameLength = 0, at = 0, length = 0, known = 0, named = 0] = text.split(",").map(Number);
  return { name: [nameAt, nameLength], value: [at, length], known: knownNames[known] ?? "", named: named === 1 };
}
