// fuzz · `node test/fuzz/tunnel-seeds.ts` writes the first inputs of the fuzzer `tunnel`: whole conversations, both roles.
import { mkdirSync, writeFileSync } from "node:fs";
import { connectTo, END_HEADERS, END_STREAM, frameTypes, literal, preface, u32 } from "../support/h2-frames.ts";

const folder = new URL("./corpus/tunnel/", import.meta.url);

/** What native/tunnel.cc reads: an act, who, and for some how long and bytes. */
const act = (what: number, who = 0): Buffer => Buffer.from([what, who]);
const say = (who: number, bytes: Uint8Array): Buffer => Buffer.concat([Buffer.from([2, who, bytes.length]), bytes]);
const say2 = (who: number, bytes: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from([4, who, bytes.length >> 8, bytes.length & 255]), bytes]);
const frame = (
  who: number,
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer => Buffer.concat([Buffer.from([3, who, payload.length + 3, type, flags, stream]), payload]);
const peer = act(0);
const application = act(1);
const passes = (seconds: number): Buffer => act(9, seconds);

const { data, headers, priority, rstStream, settings, pushPromise, ping, goaway, windowUpdate, continuation } =
  frameTypes;
const hello = (who = 0): Buffer => Buffer.concat([say(who, preface), frame(who, settings, 0, 0)]);
const connect = (stream: number, who = 0, block = connectTo("10.0.0.9:80")): Buffer =>
  frame(who, headers, END_HEADERS, stream, block);
const text = (content: string): Buffer => Buffer.from(content);
/** A server of ours answers: its handshake, its settings, 200. */
const answered = (who: number): Buffer =>
  Buffer.concat([
    say(who, Buffer.from([0x16])),
    frame(who, settings, 0, 0),
    frame(who, headers, END_HEADERS, 1, literal(":status", "200")),
  ]);
const setting = (id: number, value: number): Buffer => Buffer.concat([Buffer.from([0, id]), u32(value)]);

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nX-A: b\r\n\r\n`;
const post = "POST /p?q HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nbody\r\n0\r\nX-T: v\r\n\r\n";
const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const chunked =
  "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
const upgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nbehind";
const switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello";

const seeds: Readonly<Record<string, readonly Buffer[]>> = {
  "server-whole": [peer, hello(), connect(1), frame(0, data, 0, 1, text("a question")), say(1, text("an answer"))],
  "server-both-end": [
    peer,
    hello(),
    connect(1),
    frame(0, data, END_STREAM, 1, text("q")),
    say(1, text("a")),
    act(5, 1),
  ],
  "server-app-closes": [peer, hello(), connect(1), frame(0, data, 0, 1, text("q")), act(6, 1), passes(2)],
  "server-reset": [peer, hello(), connect(1), frame(0, rstStream, 0, 1, u32(8)), connect(3)],
  "server-early-data": [peer, hello(), connect(1), frame(0, data, 0, 1, text("too early")), act(10, 0)],
  "server-continued": [
    peer,
    hello(),
    frame(0, headers, 0, 1, literal(":method", "CONNECT")),
    frame(0, continuation, END_HEADERS, 1, literal(":authority", "10.0.0.9:80")),
  ],
  "server-telemetry": [
    peer,
    hello(),
    connect(
      1,
      0,
      Buffer.concat([
        connectTo("[fd00::1]:80"),
        literal("baggage", "a=b,c=d"),
        literal("forwarded", 'for="10.0.0.1"'),
        literal("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
      ]),
    ),
  ],
  "server-forbidden": [peer, hello(), connect(1, 0, Buffer.concat([connectTo("a:1"), literal(":path", "/")]))],
  "server-trailers": [
    peer,
    hello(),
    connect(1),
    frame(0, headers, END_HEADERS | END_STREAM, 1, literal("trailer", "x")),
  ],
  "server-settings": [
    peer,
    hello(),
    frame(0, settings, 0, 0, Buffer.concat([setting(3, 0), setting(4, 0), setting(5, 16_384), setting(1, 0)])),
    connect(1),
    say(1, text("held by the window")),
    frame(0, windowUpdate, 0, 1, u32(9)),
  ],
  "server-control": [
    peer,
    hello(),
    frame(0, ping, 0, 0, Buffer.alloc(8)),
    frame(0, priority, 0, 1, Buffer.alloc(5)),
    frame(0, windowUpdate, 0, 0, u32(1)),
    frame(0, 77, 0, 0),
    frame(0, goaway, 0, 0, Buffer.alloc(8)),
  ],
  "server-push": [peer, hello(), frame(0, pushPromise, END_HEADERS, 1, Buffer.concat([u32(2), connectTo("a:1")]))],
  "server-slow-reader": [
    peer,
    hello(),
    connect(1),
    act(7, 1),
    say2(1, Buffer.alloc(9_000, 65)),
    say2(0, Buffer.alloc(9_000, 0)),
    act(7, 0),
  ],
  "server-two-streams": [peer, hello(), connect(1), connect(3), say(1, text("x")), say(2, text("y")), act(6, 2)],
  "server-no-preface": [peer, say(0, text("GET / HTTP/1.1\r\n\r\n"))],
  "server-drained": [peer, hello(), connect(1), act(13), frame(0, data, END_STREAM, 1), act(6, 1)],
  "server-pod-gone": [peer, hello(), connect(1), act(11, 1), connect(3), act(5, 1)],
  "server-times": [peer, hello(), passes(10), passes(20), passes(25)],
  "server-handshake-times": [peer, passes(6)],
  "client-whole": [application, answered(1), say(0, text("question")), frame(1, data, 0, 1, text("answer"))],
  "client-refused": [
    application,
    say(1, Buffer.from([0x16])),
    frame(1, settings, 0, 0),
    frame(1, headers, END_HEADERS | END_STREAM, 1, literal(":status", "503")),
  ],
  "client-goaway": [application, answered(1), frame(1, goaway, 0, 0, Buffer.concat([u32(0), u32(0)])), application],
  "client-refused-stream": [application, say(1, Buffer.from([0x16])), frame(1, rstStream, 0, 1, u32(7))],
  "client-lost": [application, answered(1), act(6, 1), application],
  "client-no-streams": [
    application,
    say(1, Buffer.from([0x16])),
    frame(1, settings, 0, 0, setting(3, 0)),
    application,
    passes(21),
  ],
  "client-idle": [application, answered(1), act(5, 0), frame(1, data, END_STREAM, 1), passes(200), passes(200)],
  "read-whole": [
    application,
    say2(0, text(get("/a"))),
    say2(1, text(answer)),
    say2(0, text(post)),
    say2(1, text(chunked)),
    act(5, 0),
    act(6, 1),
  ],
  "read-pipelined": [
    application,
    say2(0, text(get("/a") + post + get("/b"))),
    say2(1, text(`${answer}`)),
    say2(1, text(chunked + answer)),
  ],
  "read-in-tunnel": [
    ...[peer, hello(), connect(1), frame(0, data, 0, 1, text(get("/a"))), say2(1, text(answer))],
    ...[frame(0, data, END_STREAM, 1, text(post)), say2(1, text(chunked)), act(6, 1), passes(3)],
  ],
  "read-websocket": [
    application,
    say2(0, text(upgrade)),
    say2(1, text(switched)),
    say(0, text("early")),
    act(10, 0),
    act(6, 0),
  ],
  "read-refused": [
    application,
    say2(0, text("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")),
    say(0, text("more")),
    passes(3),
  ],
  "read-late": [
    application,
    say2(0, text(get("/a"))),
    act(10, 0),
    say2(1, text(answer)),
    act(10, 0),
    passes(200),
    passes(200),
  ],
  "read-not-http": [application, say(0, Buffer.from([0x16, 3, 1])), application, say(2, text("220 ready")), act(10, 0)],
  "read-cut": [application, say2(0, text(post.slice(0, 60))), passes(6), application, say2(2, text(post)), act(6, 2)],
  "served-twice": [
    ...[application, say2(0, text(get("/a"))), say2(1, text(answer)), say2(0, text(get("/b"))), say2(1, text(answer))],
    ...[application, say2(3, text(get("/c"))), say2(1, text(chunked)), passes(70)],
  ],
  "served-post": [
    application,
    say2(0, text(post)),
    say2(1, text("HTTP/1.1 200 OK\r\n\r\nuntil")),
    act(6, 1),
    passes(3),
  ],
  "served-stale": [
    ...[application, say2(0, text(get("/a"))), say2(1, text(answer)), say2(0, text(get("/b")))],
    ...[act(6, 1), say2(2, text(answer)), say2(0, text(post)), act(6, 2), passes(8)],
  ],
  "served-upgrade": [
    application,
    say2(0, text(upgrade)),
    say2(1, text(switched)),
    say(0, text("more")),
    act(5, 1),
    act(5, 0),
  ],
  "served-slow": [application, say2(0, text(get("/a"))), passes(1), say2(1, text(answer.slice(0, 20))), passes(8)],
  "served-cut": [application, say2(0, text(post.slice(0, 60))), act(11, 0), say2(0, text(post)), act(13), passes(9)],
  "served-tunnel": [
    ...[application, say2(0, text(get("/a"))), answered(1), frame(1, data, 0, 1, text(answer))],
    ...[say2(0, text(get("/b"))), frame(1, data, END_STREAM, 1, text(answer)), say2(0, text(get("/c"))), passes(9)],
  ],
  "client-informational": [
    application,
    say(1, Buffer.from([0x16])),
    frame(1, headers, END_HEADERS, 1, literal(":status", "103")),
    frame(1, headers, END_HEADERS, 1, literal(":status", "200")),
  ],
};

mkdirSync(folder, { recursive: true });
for (const [name, acts] of Object.entries(seeds)) {
  const choices = Buffer.alloc(8);
  if (name.endsWith("early-data")) choices[1] = 7;
  // From 128 on connections are read; a late decision is left to `act(10)`.
  if (name.startsWith("read-")) choices.fill(128);
  // Then served: origin 1 is dialled, 2 is behind a tunnel.
  if (name.startsWith("served-")) choices.fill(name === "served-tunnel" ? 212 : 196);
  if (name === "read-late") choices.fill(135, 1);
  if (name === "read-not-http") choices[1] = 131;
  writeFileSync(new URL(name, folder), Buffer.concat([choices, ...acts]));
}
