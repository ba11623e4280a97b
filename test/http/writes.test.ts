// tests · heads, chunks and replies that the engine's C++ writes: byte for byte what the grammar writes, and read again they say
// what was to be said. ORLOP_HTTP1_SEED draws the same heads again.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { before, test } from "node:test";
import { type Random, seeded } from "../fuzz/mutate.ts";
import { acceptedHeads } from "./cases.ts";
import { readHead } from "./grammar.ts";
import { framings, type Head, type HeadKind } from "./head.ts";
import { whyRefusedByLlhttp } from "./llhttp.ts";
import { randomHead } from "./random-heads.ts";
import { askReader, buildReader, type Question } from "./read-native.ts";
import {
  chunkQuestion,
  type Edit,
  headQuestion,
  options,
  type Pair,
  replyQuestion,
  unchanged,
  writeHead,
} from "./write-grammar.ts";

const COUNT = 25_000;
const SEED = Number(process.env.ORLOP_HTTP1_SEED ?? randomInt(1, 2 ** 31));
const BATCH = 5_000;
const MOST_BYTES = 60_000;
const MOST_FIELDS = 90;

before(buildReader);

type Case = { readonly kind: HeadKind; readonly bytes: Buffer; readonly head: Head; readonly edit?: Edit | undefined };

const latin1 = (text: string): Buffer => Buffer.from(text, "latin1");
const textOf = (line: string): string => Buffer.from(line.replace(/^written /, ""), "hex").toString("latin1");
const shown = ({ kind, bytes, edit }: Case): string =>
  `${kind} ${JSON.stringify(edit)} ${JSON.stringify(bytes.toString("latin1").slice(0, 2_000))}`;

function caseOf(kind: HeadKind, bytes: Buffer, edit?: Edit): Case {
  const head = readHead(kind, bytes);
  assert.ok(typeof head !== "string", `accepted: ${bytes.toString("latin1")}`);
  return { kind, bytes, head, edit };
}

/** The heads that C++ and grammar write for these cases; they must be the same. Empty for an edit that cannot be written. */
function agreed(cases: readonly Case[]): string[] {
  const said = askReader(
    cases.map(({ kind, bytes, edit }): Question => ({ kind: "written head", bytes: headQuestion(kind, bytes, edit) })),
  );
  for (const [index, one] of cases.entries()) {
    const { head, bytes, edit = unchanged(head) } = one;
    const ours = writeHead(head, bytes.toString("latin1"), edit);
    const theirs = said[index] ?? "";
    if (theirs !== ours) assert.equal(textOf(theirs), textOf(ours), `C++ and grammar differ: ${shown(one)}`);
  }
  return said.map(textOf);
}

const same = (head: string, more: Partial<Edit> = {}, kind: HeadKind = "request"): string => {
  const read = caseOf(kind, latin1(head));
  return agreed([{ ...read, edit: { ...unchanged(read.head), ...more } }])[0] ?? "";
};

test("fields of the one connection stay behind, and framing is said once", () => {
  const head = (lines: readonly string[]): string => `${lines.join("\r\n")}\r\n\r\n`;
  assert.equal(
    same(
      head([
        "POST /a?b HTTP/1.1",
        "Host:a",
        "Connection: keep-alive, x-mine, Upgrade, HTTP2-Settings",
        "X-Mine: 1",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABk",
        "TE: gzip",
        "Content-Length: 007",
        "x-orlop-who: me",
        "X-Forwarded-For: 10.0.0.1 ",
      ]),
    ),
    head(["POST /a?b HTTP/1.1", "Host: a", "X-Forwarded-For: 10.0.0.1", "Content-Length: 7"]),
  );
  assert.equal(
    same(
      head([
        "GET /chat HTTP/1.1",
        "Host: a",
        "Connection: Upgrade",
        "Upgrade: h2c, WebSocket",
        "Sec-WebSocket-Version: 13",
      ]),
    ),
    head(["GET /chat HTTP/1.1", "Host: a", "Sec-WebSocket-Version: 13", "Upgrade: websocket", "Connection: Upgrade"]),
  );
  assert.equal(
    same(
      head([
        "POST / HTTP/1.1",
        "Host: a",
        "Transfer-Encoding: chunked",
        "TE: trailers",
        "Connection: TE, close",
        "Trailer: a",
      ]),
    ),
    head([
      "POST / HTTP/1.1",
      "Host: a",
      "Trailer: a",
      "Transfer-Encoding: chunked",
      "TE: trailers",
      "Connection: close, TE",
    ]),
  );
  assert.equal(
    same(head(["GET / HTTP/1.0", "Connection: keep-alive"])),
    head(["GET / HTTP/1.0", "Connection: keep-alive"]),
  );
  assert.equal(
    same(head(["GET http://a/ HTTP/1.0"]), { minor: 1 }),
    head(["GET / HTTP/1.1", "Host: a", "Connection: close"]),
  );
  assert.equal(same(head(["GET http://a?b HTTP/1.1", "Host: a"])), head(["GET /?b HTTP/1.1", "Host: a"]));
  assert.equal(
    same(head(["GET / HTTP/1.1", "Host: a", "Connection: keep-alive", "Keep-Alive: timeout=5"]), { keepAlive: true }),
    head(["GET / HTTP/1.1", "Host: a", "Keep-Alive: timeout=5"]),
  );
});

test("responses keep the length that is another's, and say when the connection ends", () => {
  const written = (text: string, kind: HeadKind = "response"): string => same(text, {}, kind);
  assert.equal(
    written("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", "response to HEAD"),
    "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n",
  );
  assert.equal(written("HTTP/1.1 204\r\nContent-Length: 0\r\n\r\n"), "HTTP/1.1 204 \r\n\r\n");
  assert.equal(
    written("HTTP/1.0 200 Fine  then\r\nA: b\r\n\r\n"),
    "HTTP/1.1 200 Fine  then\r\nA: b\r\nConnection: close\r\n\r\n",
  );
  assert.equal(
    same("HTTP/1.1 200 OK\r\n\r\n", { framing: "chunked", option: "" }, "response"),
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
  );
  assert.equal(
    written("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
  );
});

test("edits that cannot be written are not written", () => {
  const get = "GET /a HTTP/1.1\r\nHost: a\r\nX-Envoy-A: 1\r\nx_forwarded_client_cert: c\r\nA: 1\r\na: 2\r\n\r\n";
  const pairs = (...all: readonly Pair[]): Partial<Edit> => ({ pairs: all });
  assert.equal(
    same(get, { ...pairs(["A", "3"]), withoutEnvoys: true, path: "/b" }),
    "GET /b HTTP/1.1\r\nHost: a\r\nA: 3\r\n\r\n",
  );
  assert.equal(same(get, { ...pairs(["a"]), withoutEnvoys: true }), "GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
  const refused: readonly Partial<Edit>[] = [
    pairs(["a b", "c"]),
    pairs(["", "c"]),
    pairs(["a", "b\r\nc: d"]),
    pairs(["a", "\0"]),
    pairs(["Content-Length", "1"]),
    pairs(["host", "b"]),
    pairs(["Connection"]),
    { path: "" },
    { path: "b" },
    { path: "/b?c" },
    { path: "/b c" },
    { path: "/b\r\n" },
    { framing: "until-close" },
    { framing: "chunked", minor: 0 },
    { websocket: true, minor: 0 },
  ];
  for (const edit of refused) assert.equal(same(get, edit), "", JSON.stringify(edit));
  assert.equal(same("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", { path: "/" }), "");
  assert.equal(same("HTTP/1.1 204 OK\r\n\r\n", { framing: "chunked" }, "response"), "");
});

test("chunk lines, the last chunk with its trailers, and replies", () => {
  const ask = (kind: Question["kind"], ...all: readonly Buffer[]): string[] =>
    askReader(all.map((bytes) => ({ kind, bytes }))).map(textOf);
  const sizes = [1, 15, 16, 0xff, 0x100, 65_536, Number.MAX_SAFE_INTEGER];
  assert.deepEqual(
    ask("written chunk", ...sizes.map((size) => chunkQuestion(size))),
    sizes.map((size) => `${size.toString(16)}\r\n`),
  );
  assert.deepEqual(ask("written chunk", chunkQuestion(0, "\r\n"), chunkQuestion(0, "Sum:1 \r\nb:\r\n\r\n")), [
    "0\r\n\r\n",
    "0\r\nSum: 1\r\nb: \r\n\r\n",
  ]);
  const pair = ["content-type", "text/plain"] as const;
  assert.deepEqual(
    ask(
      "reply",
      replyQuestion(403, "", false, pair, "RBAC: access denied"),
      replyQuestion(403, "close", true, pair, "RBAC: access denied"),
      replyQuestion(502, "keep-alive", false, ["a", "b\r\n"], ""),
    ),
    [
      "HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\nContent-Length: 19\r\n\r\nRBAC: access denied",
      "HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\nContent-Length: 19\r\nConnection: close\r\n\r\n",
      "",
    ],
  );
});

const pick = <T>(from: readonly [T, ...T[]], random: Random): T => from[random(from.length)] ?? from[0];

function randomEdit(random: Random): Edit {
  const pair = (): Pair => [
    pick(["traceparent", "X-Request-ID", "user-agent", "x-orlop-a", "a b", "Te"], random),
    pick([undefined, "", "1", "a\tb", "a\nb"], random),
  ];
  return {
    framing: framings[random(4)] ?? "none",
    length: random(3) * 1_000_003,
    minor: random(4) === 0 ? 0 : 1,
    option: options[random(3)] ?? "",
    websocket: random(6) === 0,
    trailers: random(6) === 0,
    withoutEnvoys: random(3) === 0,
    keepAlive: random(3) === 0,
    ...(random(4) === 0 && { path: pick(["/", "/a/b", "/a%2fb", "/a?", "a"], random) }),
    pairs: Array.from({ length: random(5) === 0 ? random(3) : 0 }, pair),
  };
}

/** What the written head must say when it is read again. */
function holdsToEdit(one: Case, text: string): void {
  const { head, edit = unchanged(head) } = one;
  const again = readHead(one.kind, latin1(text));
  assert.ok(typeof again !== "string", `what is written is accepted: ${again} ${shown(one)}`);
  assert.equal(whyRefusedByLlhttp(one.kind, latin1(text)), undefined, `llhttp reads it: ${shown(one)}`);
  // A response without a body to a request that would have one is the caller's mistake, and has no framing of its own.
  if (head.status === 0 || head.framing !== "none") {
    if (head.status === 0 || edit.framing !== "none") assert.equal(again.framing, edit.framing, shown(one));
  } else {
    assert.equal(again.framing, "none", shown(one));
  }
  assert.equal(again.upgradesOther, false);
  assert.equal(again.upgradesWebsocket, edit.websocket);
  assert.equal(again.acceptsTrailers, head.status === 0 && edit.trailers);
  if (edit.option === "close") assert.equal(again.persistent, false);
}

test("C++ and grammar write the same random heads, and what is written says what was to be said", () => {
  console.log(`again: ORLOP_HTTP1_SEED=${SEED} node --test test/http/writes.test.ts`);
  const random = seeded(SEED);
  let written = 0;
  let other: Buffer = Buffer.alloc(0);
  for (let done = 0; done < COUNT; done += BATCH) {
    const cases: Case[] = [];
    while (cases.length < BATCH) {
      const { kind, bytes } = randomHead(random, other);
      other = bytes;
      const head = readHead(kind, bytes);
      if (typeof head === "string") continue;
      // With what is added these may be more than a reader takes.
      if (bytes.length > MOST_BYTES || head.fields.length > MOST_FIELDS) continue;
      cases.push({ kind, bytes, head, ...(random(3) > 0 && { edit: randomEdit(random) }) });
    }
    const texts = agreed(cases);
    const rewritten: Case[] = [];
    const expected: string[] = [];
    for (const [index, one] of cases.entries()) {
      const text = texts[index] ?? "";
      if (text === "") {
        assert.notEqual(one.edit, undefined, `a head can be written unchanged: ${shown(one)}`);
        continue;
      }
      written++;
      holdsToEdit(one, text);
      if (one.edit !== undefined) continue;
      rewritten.push(caseOf(one.kind, latin1(text)));
      expected.push(text);
    }
    assert.deepEqual(agreed(rewritten), expected, "what was written unchanged is written the same again");
  }
  assert.ok(written >= 0.4 * COUNT, `four of ten are written: ${written}`);
});

test("heads of honest programs are written unchanged", () => {
  const cases = acceptedHeads.map(([, , head, kind = "request"]) => caseOf(kind, latin1(head)));
  for (const [index, text] of agreed(cases).entries()) assert.notEqual(text, "", acceptedHeads[index]?.[0]);
});
