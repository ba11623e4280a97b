// tests · HTTP/2 that is read, from callers that break its rules or send too much; and applications that are none.
import assert from "node:assert/strict";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { RequestEnded } from "../../agent/engine/events.ts";
import { END_HEADERS, END_STREAM, frame, frameTypes, literal, preface, u32 } from "../support/h2-frames.ts";
import { ask, h2cApplication, h2cCaller } from "./h2c.ts";
import { headOf, RawCaller } from "./raw-h2c.ts";
import { forward, reads, type Under } from "./read-engine.ts";
import { dial, howItEnds, serve } from "./support.ts";

const ended = (under: Under): RequestEnded[] => under.engine.events.filter((event) => event.type === "request-ended");
const request = (stream: number, fields: Readonly<Record<string, string | null>> = {}, flags = END_STREAM): Buffer =>
  frame(frameTypes.headers, flags | END_HEADERS, stream, headOf(fields));
const hello = () => h2cApplication((stream) => stream.respond({ ":status": 200 }, { endStream: true }));
const PROTOCOL_ERROR = 1;
const ENHANCE_YOUR_CALM = 11;

test("a head that rules cannot read is answered with the status of its refusal, and the next goes on", async () => {
  const app = await hello();
  using under = reads("plaintext", app.port);
  using caller = h2cCaller(under.port);
  const long = "x".repeat(7_800);
  const many = Object.fromEntries(Array.from({ length: 101 }, (_, nth) => [`x-${nth}`, "1"]));
  const large = Object.fromEntries(Array.from({ length: 8 }, (_, nth) => [`x-${nth}`, long]));
  for (const [fields, status, refusal] of [
    [{ host: "other" }, 400, "host-mismatch"],
    [{ ":path": "/a#b" }, 400, "target"],
    [many, 431, "too-many-fields"],
    [large, 431, "head-too-large"],
  ] as const) {
    const before = ended(under).length;
    const got = await ask(caller.session, { headers: { ":authority": "app", ...fields } });
    assert.equal(got.status, status, refusal);
    assert.equal(got.body.toString(), refusal);
    assert.deepEqual(
      ended(under)
        .slice(before)
        .map((event) => [event.outcome, event.status, event.refusal]),
      [["refused", status, refusal]],
    );
  }
  assert.equal((await ask(caller.session, { headers: { host: "APP", ":authority": "app" } })).status, 200);
  assert.equal(under.engine.events.filter(({ type }) => type === "request").length, 1);
});

test("what HTTP/2 forbids in a request resets its stream, reaches nobody, and the next goes on", async () => {
  const seen: string[] = [];
  const app = await h2cApplication((stream, headers) => {
    seen.push(String(headers[":path"]));
    stream.respond({ ":status": 200 }, { endStream: true });
  });
  using under = reads("plaintext", app.port);
  const caller = await RawCaller.open(under.port);
  const bad: readonly Buffer[] = [
    headOf({ ":path": null }),
    headOf({ ":method": null }),
    headOf({ ":scheme": null }),
    headOf({ ":path": "" }),
    headOf({ "X-Upper": "1" }),
    headOf({ connection: "x-secret" }),
    headOf({ "transfer-encoding": "chunked" }),
    headOf({ te: "gzip" }),
    headOf({ "content-length": "1, 2" }),
    headOf({ ":status": "200" }),
    Buffer.concat([literal("x-first", "1"), headOf({})]),
    Buffer.concat([headOf({}), literal(":path", "/again")]),
    headOf({ "x-field": "a\r\nx-smuggled: 1" }),
    headOf({ "x field": "1" }),
    headOf({ ":path": "/a b" }),
    headOf({ ":path": "/a\r\nx-smuggled: 1" }),
    headOf({ ":authority": "app\r\nx-smuggled: 1" }),
    headOf({ ":authority": "app@x" }),
  ];
  let stream = 1;
  for (const block of bad) {
    caller.socket.write(frame(frameTypes.headers, END_STREAM | END_HEADERS, stream, block));
    const id = stream;
    const answer = await caller.frame((each) => each.stream === id);
    assert.ok(answer !== undefined, block.toString("latin1"));
    // Where nghttp2 has no opinion our own rules answer.
    if (answer.type === frameTypes.rstStream) assert.equal(answer.payload.readUInt32BE(0), PROTOCOL_ERROR);
    else assert.match(under.engine.events.filter(({ type }) => type === "request-ended").at(-1)?.type ?? "", /ended/);
    stream += 2;
  }
  caller.socket.write(request(stream, { ":path": "/good" }));
  assert.equal((await caller.frame((each) => each.stream === stream))?.type, frameTypes.headers);
  assert.deepEqual(seen, ["/good"]);
  assert.equal(ended(under).filter(({ outcome }) => outcome === "refused").length, bad.length);
  assert.equal(under.engine.events.filter(({ type }) => type === "request").length, 1);
});

test("CONNECT is answered with 501, and a body that is not as long as it says resets its stream at both sides", async () => {
  const codes: number[] = [];
  const app = await h2cApplication((stream) => {
    stream.resume();
    stream.on("close", () => codes.push(stream.rstCode ?? 0));
  });
  using under = reads("plaintext", app.port);
  const caller = await RawCaller.open(under.port);
  const connect = headOf({ ":method": "CONNECT", ":scheme": null, ":path": null });
  caller.socket.write(frame(frameTypes.headers, END_STREAM | END_HEADERS, 1, connect));
  await caller.frame((each) => each.stream === 1 && (each.flags & END_STREAM) !== 0);
  assert.deepEqual(
    ended(under).map(({ status, refusal }) => [status, refusal]),
    [[501, "connect"]],
  );
  caller.socket.write(request(3, { ":method": "POST", "content-length": "5" }, 0));
  caller.socket.write(frame(frameTypes.data, END_STREAM, 3, Buffer.from("abc")));
  assert.equal(await caller.code("rstStream", 3), PROTOCOL_ERROR);
  caller.socket.write(request(5, { ":method": "POST", "content-length": "5" }));
  assert.equal((await caller.frame((each) => each.stream === 5)) !== undefined, true);
  while (codes.length < 1) await sleep(5);
  assert.ok(ended(under).every(({ outcome }) => outcome === "refused"));
});

test("trailers that frame, route or say who calls reset their request", async () => {
  const app = await h2cApplication((stream) => stream.resume());
  using under = reads("plaintext", app.port);
  const caller = await RawCaller.open(under.port);
  const trailers = Buffer.concat([literal("x-orlop-identity", "admin")]);
  caller.socket.write(request(1, { ":method": "POST" }, 0));
  caller.socket.write(frame(frameTypes.headers, END_STREAM | END_HEADERS, 1, trailers));
  assert.equal(await caller.code("rstStream", 1), PROTOCOL_ERROR);
  assert.deepEqual(
    ended(under).map(({ outcome, refusal }) => [outcome, refusal]),
    [["refused", "trailer-field"]],
  );
});

test("too much of a head, or frames that are none, end the connection with GOAWAY, and the application's", async () => {
  for (const [bytes, code] of [
    [
      Buffer.concat([
        frame(frameTypes.headers, 0, 1, headOf({})),
        ...Array.from({ length: 40 }, () => frame(frameTypes.continuation, 0, 1, literal("x-a", "b".repeat(120)))),
      ]),
      null,
    ],
    [frame(frameTypes.data, 0, 0, Buffer.from("x")), PROTOCOL_ERROR],
    [frame(frameTypes.settings, 0, 0, Buffer.alloc(5)), 6],
    [frame(frameTypes.ping, 0, 0, Buffer.alloc(8), 2 ** 20), 6],
  ] as const) {
    const app = await hello();
    using under = reads("plaintext", app.port);
    const caller = await RawCaller.open(under.port);
    caller.socket.write(bytes);
    if (code === null) await caller.frame(({ type }) => type === frameTypes.goaway || type === frameTypes.rstStream);
    else assert.equal(await caller.code("goaway"), code);
    if (code !== null) assert.equal((await under.engine.event("closed")).cause, "http-refused");
  }
});

test("a head that is not whole after five seconds, and a preface without SETTINGS, end the connection", async () => {
  const app = await hello();
  using under = reads("plaintext", app.port);
  const slow = await RawCaller.open(under.port);
  slow.socket.write(frame(frameTypes.headers, END_STREAM, 1, headOf({})));
  const silent = await RawCaller.open(under.port, preface);
  assert.equal(await slow.code("goaway"), ENHANCE_YOUR_CALM);
  assert.equal(await silent.code("goaway"), ENHANCE_YOUR_CALM);
});

test("rapid reset: the caller is slowed, the application sees a part of it, and others are served", async () => {
  let begun = 0;
  const app = await h2cApplication((stream) => {
    begun++;
    stream.respond({ ":status": 200 }, { endStream: true });
  });
  using under = reads("plaintext", app.port);
  const caller = await RawCaller.open(under.port);
  const cancel = u32(8);
  for (let stream = 1; stream < 40_000; stream += 2)
    caller.socket.write(Buffer.concat([request(stream), frame(frameTypes.rstStream, 0, stream, cancel)]));
  while (under.engine.engine.stats().slowedTotal === 0) await sleep(5);
  using other = h2cCaller(under.port);
  assert.equal((await ask(other.session, { headers: { ":path": "/" } })).status, 200);
  assert.ok(begun < 10_000, `${begun} requests reached the application`);
  caller.socket.destroy();
});

test("an application that is no HTTP/2, or goes, is 502, and UNAVAILABLE for a call of gRPC", async () => {
  const grpc = { ":method": "POST", "content-type": "application/grpc" };
  for (const say of ["HTTP/1.1 400 Bad Request\r\n\r\n", ""]) {
    // The engine answers the requests that it has read. The caller may send them in two packets, so the application waits for both:
    // those that come after its end are left to the caller, by GOAWAY.
    const bothRead = Promise.withResolvers<void>();
    const app = await serve((socket) => {
      socket.resume();
      void bothRead.promise.then(() => socket.end(say));
    });
    let read = 0;
    using under = reads("plaintext", app.port, (event) => {
      if (++read === 2) bothRead.resolve();
      return forward(event);
    });
    using caller = h2cCaller(under.port);
    const [plain, call] = await Promise.all([
      ask(caller.session, { headers: { ":path": "/" } }),
      ask(caller.session, { headers: grpc }),
    ]);
    assert.equal(plain.status, 502);
    assert.deepEqual([call.status, call.headers["grpc-status"]], [200, "14"]);
    const outcome = say === "" ? "reset-by-upstream" : "bad-response";
    assert.deepEqual(
      ended(under).map((event) => event.outcome),
      [outcome, outcome],
    );
  }
});

test("what else an application says before its caller has spoken is no HTTP, and nothing of SETTINGS leaves", async () => {
  for (const first of [Buffer.from("220 mail\r\n"), frame(frameTypes.ping, 0, 0, Buffer.alloc(8))]) {
    const app = await serve((socket) => socket.write(first));
    using under = reads("plaintext", app.port);
    const socket = await dial(under.port);
    assert.equal(await howItEnds(socket), "ECONNRESET");
    assert.equal((await under.engine.event("closed")).cause, "not-http");
  }
  const app = await serve((socket) => socket.write(frame(frameTypes.settings, 0, 0)));
  using under = reads("plaintext", app.port);
  const socket = await dial(under.port);
  let heard = 0;
  socket.on("data", (bytes) => {
    heard += bytes.length;
  });
  await sleep(100);
  assert.equal(heard, 0);
  // It speaks HTTP/1 to an application of HTTP/2.
  socket.write("GET / HTTP/1.1\r\nHost: app\r\n\r\n");
  assert.equal(await howItEnds(socket), "end");
  const { status, outcome } = await under.engine.event("request-ended");
  assert.deepEqual([status, outcome], [502, "bad-response"]);
});
