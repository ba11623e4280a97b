// tests · random talks between a client and a server out of a seed, and what each of them must hear; written down while the talk is
// made up, so nothing is parsed that the engine's C++ parses. Pure.
import type { Random } from "../fuzz/mutate.ts";
import { readHead } from "./grammar.ts";
import type { HeadKind } from "./head.ts";
import { type Option, unchanged, writeHead } from "./write-grammar.ts";

export type Answer = {
  readonly text: string;
  /** The server ends its connection behind it. */
  readonly ends: boolean;
  /** Said when the request's head has come to the server, not when its body has ended. */
  readonly early?: boolean;
};
export type Talk = {
  /** A `1` for each request that is forwarded, else it is refused. */
  readonly verdicts: string;
  readonly client: string;
  readonly clientEnds: boolean;
  /** Each is said when another request has come to the server. */
  readonly answers: readonly Answer[];
};
/** `open`, `closes`, `finish` or `abort`, and what was heard. */
export type Heard = { readonly end: string; readonly byServer: string; readonly byClient: string };

const pick = <T>(from: readonly [T, ...T[]], random: Random): T => from[random(from.length)] ?? from[0];
const payload = (random: Random): string =>
  pick(["a", "hello", "0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"], random).repeat(1 + random(3));

type Message = { readonly head: string; readonly body: string; readonly payload: string; readonly trailers: string };

function framed(first: string, lines: readonly string[], framing: string, random: Random): Message {
  const head = (more: readonly string[]): string => `${[first, ...lines, ...more].join("\r\n")}\r\n\r\n`;
  const data = framing === "none" ? "" : payload(random);
  if (framing === "length")
    return { head: head([`Content-Length: ${data.length}`]), body: data, payload: data, trailers: "" };
  if (framing !== "chunked") return { head: head([]), body: data, payload: data, trailers: "" };
  const cut = random(data.length);
  const chunks = [data.slice(0, cut), data.slice(cut)].filter((chunk) => chunk !== "");
  const sum = random(3) === 0;
  const lastLines = sum ? "Sum: 1\r\n" : "";
  const body = `${chunks.map((chunk) => `${chunk.length.toString(16)};x\r\n${chunk}\r\n`).join("")}0\r\n${lastLines}\r\n`;
  return { head: head(["Transfer-Encoding: chunked"]), body, payload: data, trailers: sum ? "+Sum" : "" };
}

function rewritten(kind: HeadKind, head: string, option?: Option, untilClose = false): string {
  const read = readHead(kind, Buffer.from(head, "latin1"));
  if (typeof read === "string") throw new Error(`${read}: ${head}`);
  const edit = {
    ...unchanged(read),
    ...(option !== undefined && { option }),
    ...(untilClose && { framing: "until-close" as const }),
  };
  return Buffer.from(writeHead(read, head, edit).replace("written ", ""), "hex").toString("latin1");
}

type Asked = { readonly old: boolean; readonly keeps: boolean; readonly head: boolean; readonly websocket: boolean };

function request(random: Random): {
  readonly message: Message;
  readonly asked: Asked;
  readonly framing: string;
  readonly expects: boolean;
} {
  const old = random(6) === 0;
  const says = old ? random(2) === 0 : random(12) === 0;
  const websocket = !old && !says && random(8) === 0;
  const method = websocket ? "GET" : pick(["GET", "HEAD", "POST", "POST"], random);
  const framing = method !== "POST" ? "none" : old ? "length" : pick(["length", "chunked"], random);
  const expects = framing !== "none" && !old && random(4) === 0;
  const lines = [
    "Host: a",
    ...(says ? [`Connection: ${old ? "keep-alive" : "close"}`] : []),
    ...(websocket ? ["Connection: Upgrade", "Upgrade: websocket"] : []),
    ...(expects ? ["Expect: 100-continue"] : []),
  ];
  const message = framed(`${method} / HTTP/1.${old ? 0 : 1}`, lines, framing, random);
  return { message, framing, expects, asked: { old, keeps: old === says, head: method === "HEAD", websocket } };
}

/** What the server says, what the client hears of it, and whether more may follow: `opaque` behind 101. */
function answer(
  asked: Asked,
  random: Random,
): { readonly text: string; readonly heard: string; readonly follows: string; readonly ends: boolean } {
  const interim =
    random(5) === 0
      ? pick(["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: b\r\n\r\n"], random)
      : "";
  const heardInterim = asked.old || interim === "" ? "" : rewritten("response", interim);
  if (asked.websocket && random(2) === 0) {
    const head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    return { text: interim + head, heard: heardInterim + rewritten("response", head), follows: "opaque", ends: false };
  }
  const status = pick(["200 OK", "404 Not Found", "304 Not Modified", "204 No Content"], random);
  const empty = asked.head || status.startsWith("304") || status.startsWith("204");
  const framing = empty ? "none" : pick(["length", "length", "chunked", "until-close"], random);
  const closes = random(8) === 0;
  const announced = empty && !status.startsWith("204") && random(2) === 0 ? ["Content-Length: 7"] : [];
  const { head, body, payload, trailers } = framed(
    `HTTP/1.1 ${status}`,
    [...(closes ? ["Connection: close"] : []), ...announced],
    framing,
    random,
  );
  const untilClose = framing === "until-close" || (framing === "chunked" && asked.old);
  const keeps = asked.keeps && !closes && !untilClose;
  const option = keeps ? (asked.old ? "keep-alive" : "") : "close";
  const kind = asked.head ? "response to HEAD" : "response";
  const heard = `${heardInterim}${rewritten(kind, head, option, untilClose)}${payload}${trailers}|`;
  return { text: interim + head + body, heard, follows: keeps ? "next" : "closes", ends: framing === "until-close" };
}

export function randomTalk(random: Random): { readonly talk: Talk; readonly heard: Heard } {
  let client = "";
  let verdicts = "";
  let byServer = "";
  let byClient = "";
  let then = "next";
  const answers: Answer[] = [];
  const clientEnds = random(3) === 0;
  for (let count = 1 + random(5); count > 0; count--) {
    const { message, asked, framing, expects } = request(random);
    client += message.head + message.body;
    // What follows the end is written all the same, and heard by nobody.
    if (then !== "next") continue;
    if (random(5) === 0) {
      verdicts += "0";
      const closes = !asked.keeps || expects || framing === "chunked";
      byClient += closes ? "refused, closes|" : "refused|";
      if (closes) then = "closes";
      continue;
    }
    verdicts += "1";
    byServer += `${rewritten("request", message.head)}${message.payload}${message.trailers}|`;
    const said = answer(asked, random);
    byClient += said.heard;
    then = said.follows;
    const frames = then === "opaque" ? "\x81\x01a" : "";
    byClient += frames;
    // A server that ends the connection early need not hear the rest of the request.
    const early = then === "next" && random(3) === 0;
    answers.push({ text: said.text + frames, ends: said.ends, early });
    if (then !== "opaque") continue;
    client += "\x81\x80mask";
    byServer += "\x81\x80mask";
    break;
  }
  if (then === "opaque" && clientEnds) byServer += "|";
  const idle = clientEnds ? "finish" : "open";
  const end = then === "next" ? idle : then === "opaque" ? "open" : "closes";
  return { talk: { verdicts, client, clientEnds, answers }, heard: { end, byServer, byClient } };
}

function sized(text: string): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(text.length);
  return Buffer.concat([bytes, Buffer.from(text, "latin1")]);
}

/** The question to the C++ (test/fuzz/native/http1_reader.cc); `seed` draws the pieces. */
export function talkQuestion(talk: Talk, seed: number): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32LE(seed >>> 0);
  head[4] = Number(talk.clientEnds);
  const answers = talk.answers.flatMap(({ text, ends, early = false }) => {
    return [Buffer.from([Number(ends) + 2 * Number(early)]), sized(text)];
  });
  return Buffer.concat([
    head,
    sized(talk.verdicts),
    sized(talk.client),
    Buffer.from([talk.answers.length]),
    ...answers,
  ]);
}

export function heardOf(line: string): Heard {
  const [end = "", byServer = "", byClient = ""] = line.split(" ");
  const text = (hex: string): string => Buffer.from(hex, "hex").toString("latin1");
  return { end, byServer: text(byServer), byClient: text(byClient) };
}
