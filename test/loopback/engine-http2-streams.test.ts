// tests · streams of HTTP/2 that is read: resets, GOAWAY and changes of policy on the way, slow ends, and bytes in any pieces.
import assert from "node:assert/strict";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import type http2 from "node:http2";
import net from "node:net";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { RequestEnded } from "../../agent/engine/events.ts";
import { Dice } from "../support/dice.ts";
import { END_HEADERS, END_STREAM, frame, frameTypes, u32 } from "../support/h2-frames.ts";
import { ask, h2cApplication, h2cCaller, response } from "./h2c.ts";
import { headOf, RawCaller } from "./raw-h2c.ts";
import { byPath, forward, reads, type Under, ways } from "./read-engine.ts";
import { closedAtEnd } from "./support.ts";
import { until } from "./until.ts";

const ended = (under: Under): RequestEnded[] => under.engine.events.filter((event) => event.type === "request-ended");
const MEBIBYTE = 2 ** 20;
const CANCEL = 8;
const REFUSED_STREAM = 7;
const INTERNAL_ERROR = 2;
const INADEQUATE_SECURITY = 12;

for (const way of ways) {
  test(`${way}: a reset of the caller cancels at the application, a reset of the application keeps its code`, async () => {
    const codes: number[] = [];
    let came = 0;
    const app = await h2cApplication((stream, headers) => {
      came += 1;
      stream.on("close", () => codes.push(stream.rstCode ?? 0));
      const code = headers["x-code"];
      if (headers["x-begin"] !== undefined) stream.respond({ ":status": 200 });
      // What has begun is broken off by destroying it: close() would end it first.
      const end = () => (code === "2" ? stream.destroy(new Error("broken")) : stream.close(Number(code)));
      if (code !== undefined) setTimeout(end, 20);
    });
    using under = reads(way, app.port, forward);
    using caller = h2cCaller(under.port);
    for (const [headers, code] of [
      [{ "x-code": String(REFUSED_STREAM) }, REFUSED_STREAM],
      [{ "x-code": "11" }, 11],
      [{ "x-code": "2", "x-begin": "1" }, INTERNAL_ERROR],
    ] as const)
      assert.equal((await ask(caller.session, { headers })).code, code);
    const stream = caller.session.request({ ":method": "POST" }, { endStream: false });
    const over = response(stream);
    await until(() => came === 4);
    stream.close(CANCEL);
    await over;
    while (codes.length < 4) await sleep(5);
    assert.equal(codes[3], CANCEL);
    while (ended(under).length < 4) await sleep(5);
    assert.deepEqual(
      ended(under).map(({ outcome }) => outcome),
      ["reset-by-upstream", "reset-by-upstream", "reset-by-upstream", "reset-by-downstream"],
    );
    assert.equal((await ask(caller.session, { headers: { "x-code": "2" } })).code, INTERNAL_ERROR);
  });

  test(`${way}: GOAWAY of the application reaches the caller, and what it has taken is answered`, async () => {
    const app = await h2cApplication((stream) => {
      stream.session?.goaway();
      setTimeout(() => stream.respond({ ":status": 200 }, { endStream: true }), 50);
    });
    using under = reads(way, app.port);
    using caller = h2cCaller(under.port);
    const gone = once(caller.session, "goaway");
    const got = await ask(caller.session, { headers: { ":path": "/" } });
    assert.equal(got.status, 200);
    assert.equal((await gone)[0], 0);
    assert.equal((await under.engine.event("closed")).cause, "finished");
  });

  test(`${way}: GOAWAY of a caller that names a stream of its own, as grpc-go's does: what is open is answered`, async () => {
    const app = await h2cApplication((stream) => {
      setTimeout(() => stream.respond({ ":status": 200 }, { endStream: true }), 100);
    });
    for (const most of [2 ** 20, 1, 12]) {
      using under = reads(way, app.port);
      const caller = await RawCaller.open(under.port);
      const open = frame(frameTypes.headers, END_STREAM | END_HEADERS, 1, headOf({}));
      // RFC 9113 6.8: the last stream, the code, and text.
      const goaway = frame(frameTypes.goaway, 0, 0, Buffer.concat([u32(1), u32(0), Buffer.from("shutdown")]));
      const bytes = Buffer.concat([open, goaway]);
      caller.socket.setNoDelay();
      for (let at = 0; at < bytes.length; at += most) {
        caller.socket.write(bytes.subarray(at, at + most));
        await sleep(1);
      }
      assert.ok(await caller.frame(({ type, stream }) => type === frameTypes.headers && stream === 1));
      caller.socket.end();
      assert.equal((await under.engine.event("closed")).cause, "finished");
      assert.deepEqual(
        ended(under).map(({ outcome, status }) => [outcome, status]),
        [["answered", 200]],
      );
    }
  });

  test(`${way}: an application that is killed: what it has begun is reset, the rest is 502`, async () => {
    let came = 0;
    const app = await h2cApplication((stream, headers) => {
      came += 1;
      if (headers[":path"] === "/begun") stream.respond({ ":status": 200 });
    });
    using under = reads(way, app.port);
    using caller = h2cCaller(under.port);
    const stream = caller.session.request({ ":path": "/begun" });
    const begun = response(stream);
    const waiting = ask(caller.session, { headers: { ":path": "/waiting" } });
    await once(stream, "response");
    await until(() => came === 2);
    for (const session of app.sessions) session.destroy();
    assert.equal((await begun).status, 200);
    assert.notEqual((await begun).code, 0);
    assert.equal((await waiting).status, 502);
    assert.deepEqual(
      ended(under).map(({ outcome }) => outcome),
      ["reset-by-upstream", "reset-by-upstream"],
    );
  });

  test(`${way}: a caller that goes resets all its requests at the application`, async () => {
    const codes: number[] = [];
    const app = await h2cApplication((stream) => {
      stream.on("close", () => codes.push(stream.rstCode ?? 0));
      stream.respond({ ":status": 200 });
    });
    using under = reads(way, app.port);
    using caller = h2cCaller(under.port);
    const streams = Array.from({ length: 5 }, () =>
      caller.session.request({ ":method": "POST" }, { endStream: false }),
    );
    await Promise.all(streams.map((stream) => once(stream, "response")));
    for (const stream of streams) stream.on("error", () => {});
    caller.session.destroy();
    while (codes.length < 5 || ended(under).length < 5) await sleep(5);
    await under.engine.event("closed");
    assert.ok(ended(under).every(({ outcome }) => outcome === "reset-by-downstream"));
  });

  test(`${way}: after a change open requests fall one by one: answered or reset, and the others go on`, async () => {
    let isClosed = false;
    const codes: number[] = [];
    const open: http2.ServerHttp2Stream[] = [];
    let came = 0;
    const app = await h2cApplication((stream, headers) => {
      came += 1;
      stream.on("close", () => codes.push(stream.rstCode ?? 0));
      if (headers[":path"]?.startsWith("/begun") === true) stream.respond({ ":status": 200 });
      if (headers[":path"] === "/open") open.push(stream);
    });
    const deny = (event: Parameters<typeof byPath>[0]) => byPath({ ...event, target: "/denied" });
    using under = reads(way, app.port, (event) =>
      isClosed ? (event.target === "/open" ? undefined : deny(event)) : forward(event),
    );
    using caller = h2cCaller(under.port);
    const grpc = { ":method": "POST", "content-type": "application/grpc" };
    const all = [
      { ":path": "/begun" },
      { ...grpc, ":path": "/begun.Grpc/Call" },
      { ":path": "/waiting" },
      { ...grpc, ":path": "/waiting.Grpc/Call" },
      { ":path": "/open" },
    ].map((headers) => caller.session.request(headers, { endStream: true }));
    const responses = all.map((stream) => response(stream));
    await Promise.all(all.slice(0, 2).map((stream) => once(stream, "response")));
    await until(() => came === 5);
    isClosed = true;
    const [{ conn = 0, generation = 0 } = {}] = under.engine.events.filter((event) => event.type === "request");
    under.engine.engine.answer({ type: "ask-again", conn, generation });
    // What is to fall has fallen; the last goes on.
    await Promise.all(responses.slice(0, 4));
    for (const stream of open) stream.respond({ ":status": 200 }, { endStream: true });
    const got = await Promise.all(responses);
    assert.deepEqual(
      got.map(({ status, code, headers }) => [status, code, headers["grpc-status"] ?? null]),
      [
        [200, CANCEL, null],
        [200, INADEQUATE_SECURITY, null],
        [403, 0, null],
        [200, 0, "7"],
        [200, 0, null],
      ],
    );
    while (codes.length < 5) await sleep(5);
    assert.deepEqual(codes.toSorted(), [0, CANCEL, CANCEL, CANCEL, CANCEL]);
    assert.deepEqual(
      ended(under)
        .map(({ outcome }) => outcome)
        .toSorted(),
      ["answered", "cut", "cut", "replied", "replied"],
    );
  });

  test(`${way}: neither a caller that does not read nor an application that does not fills the engine`, async () => {
    const app = await h2cApplication((stream, headers) => {
      if (headers[":path"] === "/upload") return stream.respond({ ":status": 200 });
      stream.respond({ ":status": 200 });
      return stream.end(Buffer.alloc(40 * MEBIBYTE));
    });
    using under = reads(way, app.port);
    using caller = h2cCaller(under.port);
    await once(caller.session, "connect");
    // What is not read of a stream leaves room for the others.
    caller.session.setLocalWindowSize(2 ** 24);
    const download = caller.session.request({ ":path": "/download" });
    download.pause();
    const upload = caller.session.request({ ":method": "POST", ":path": "/upload" }, { endStream: false });
    upload.write(Buffer.alloc(40 * MEBIBYTE));
    await Promise.all([once(download, "response"), once(upload, "response")]);
    let most = 0;
    for (let looks = 0; looks < 100; looks++) {
      most = Math.max(most, under.engine.engine.stats().bufferBytes);
      await sleep(5);
    }
    assert.ok(most > 0 && most < 24 * MEBIBYTE, `${most} bytes`);
    // Others of the connection go on.
    assert.equal((await ask(caller.session, { headers: { ":path": "/denied" } })).status, 403);
    let got = 0;
    download.on("data", (chunk: Buffer) => {
      got += chunk.length;
    });
    download.resume();
    await once(download, "end");
    assert.equal(got, 40 * MEBIBYTE);
    upload.on("error", () => {});
    upload.close(CANCEL);
    while (ended(under).length < 3) await sleep(5);
    while (under.engine.engine.stats().bufferBytes > MEBIBYTE) await sleep(5);
  });
}

/** Between a caller and the engine: the bytes in pieces that mean nothing. */
async function shredder(port: number, dice: Dice): Promise<number> {
  const server = net.createServer({ allowHalfOpen: true }, (near) => {
    const far = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
      void (async () => {
        for await (const chunk of from as AsyncIterable<Buffer>) {
          for (let at = 0; at < chunk.length; ) {
            const next = at + 1 + dice.roll(dice.pick([1, 12, 300, 20_000]));
            to.write(chunk.subarray(at, next));
            if (dice.chance(2)) await sleep(1);
            at = next;
          }
        }
        to.end();
      })().catch(() => {});
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closedAtEnd(server);
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

test("streams that are mixed, trailed and reset at random end as their sides say, in whatever pieces the bytes come", async () => {
  const seed = randomInt(2 ** 31);
  const dice = new Dice(seed);
  const app = await h2cApplication((stream, headers) => {
    const [, kind, size = "0"] = headers[":path"]?.split("/") ?? [];
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    if (kind === "refuse") return stream.close(REFUSED_STREAM);
    if (kind === "early") return void stream.respond({ ":status": 200, "x-kind": "early" }, { endStream: true });
    stream.on("end", () => {
      if (stream.destroyed) return;
      const body = Buffer.concat(chunks);
      stream.respond({ ":status": 200, "x-length": String(body.length) }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0", "x-sum": String(sumOf(body)) }));
      if (kind === "break") stream.write(Buffer.alloc(Number(size) + 1), () => stream.destroy(new Error("broken")));
      else stream.end(Buffer.alloc(Number(size), "z"));
    });
  });
  using under = reads("plaintext", app.port);
  const port = await shredder(under.port, dice);
  let asked = 0;
  for (let round = 0; round < 4; round++) {
    using caller = h2cCaller(port);
    const one = async (nth: number): Promise<void> => {
      const where = `seed ${seed}, round ${round}, ${nth}`;
      await sleep(dice.roll(40));
      const kind = dice.pick(["whole", "whole", "denied", "refuse", "early", "break", "cancel"]);
      const size = dice.pick([0, 1, 5_000, 100_000]);
      const body = Array.from({ length: dice.roll(4) }, () => randomBytes(dice.pick([1, 500, 30_000])));
      const headers = { ":method": "POST", ":path": `/${kind}/${size}`, te: "trailers" };
      asked++;
      if (kind === "cancel") {
        const stream = caller.session.request(headers, { endStream: false });
        const over = response(stream);
        for (const part of body) stream.write(part);
        await sleep(dice.roll(30));
        stream.close(CANCEL);
        await over;
        return;
      }
      const trailers = dice.chance(50) ? { "x-after": "1" } : undefined;
      const got = await ask(caller.session, { headers, body, ...(trailers && { trailers }) });
      const sent = Buffer.concat(body);
      switch (kind) {
        case "denied":
          assert.equal(got.status, 403, where);
          break;
        case "refuse":
          assert.equal(got.code, REFUSED_STREAM, where);
          break;
        case "early":
          assert.equal(got.status, 200, where);
          break;
        case "break":
          // A reset may overtake the head.
          assert.ok(got.status === 200 || got.status === 0, where);
          assert.equal(got.code, INTERNAL_ERROR, where);
          break;
        default:
          assert.deepEqual([got.status, got.code, got.body.length], [200, 0, size], where);
          assert.deepEqual(got.headers["x-length"], String(sent.length), where);
          assert.deepEqual([got.trailers["grpc-status"], got.trailers["x-sum"]], ["0", String(sumOf(sent))], where);
      }
    };
    await Promise.all(Array.from({ length: 60 }, (_, nth) => one(nth)));
    await new Promise<void>((closed) => caller.session.close(() => closed()));
  }
  while (under.engine.closed().length < 4) await sleep(5);
  const numbers = ended(under).map(({ conn, generation, request }) => `${conn}/${generation}/${request}`);
  assert.equal(new Set(numbers).size, numbers.length, `seed ${seed}: a request ended twice`);
  const reported = under.engine.events.filter((event) => event.type === "request").length;
  assert.ok(reported <= asked && numbers.length >= reported, `seed ${seed}: ${asked}, ${reported}, ${numbers.length}`);
  assert.deepEqual(under.engine.errors, []);
  assert.equal(under.engine.engine.stats().bufferBytes, 0, `seed ${seed}`);
});

function sumOf(bytes: Buffer): number {
  return bytes.reduce((sum, byte) => (sum * 31 + byte) % 65_521, 0);
}
