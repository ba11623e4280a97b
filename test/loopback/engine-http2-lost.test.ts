// tests · a connection of HTTP/2 whose application goes while no request is open: its caller gets GOAWAY, and the end of the connection says why.
import assert from "node:assert/strict";
import type net from "node:net";
import test from "node:test";
import { END_HEADERS, END_STREAM, FrameReader, frame, frameTypes, literal, u32 } from "../support/h2-frames.ts";
import { headOf, RawCaller } from "./raw-h2c.ts";
import { forward, reads, ways } from "./read-engine.ts";
import { serve } from "./support.ts";

const settings = frame(frameTypes.settings, 0, 0);
const goaway = frame(frameTypes.goaway, 0, 0, Buffer.concat([u32(0), u32(0)]));
const answer = (stream: number): Buffer =>
  frame(frameTypes.headers, END_HEADERS | END_STREAM, stream, literal(":status", "200"));

/** What the application does once the engine has spoken, which it does behind its caller's first bytes. */
const lost: Readonly<Record<string, { readonly act: (socket: net.Socket) => void; readonly cause: string }>> = {
  "ends it": { act: (socket) => void socket.end(), cause: "reset-by-upstream" },
  "resets it": {
    act: (socket) => void socket.resetAndDestroy(),
    cause: "reset-by-upstream",
  },
  "says SETTINGS, and ends it": {
    act: (socket) => void socket.end(settings),
    cause: "reset-by-upstream",
  },
  "says SETTINGS and GOAWAY, and ends it": {
    ...{
      act: (socket) => void socket.end(Buffer.concat([settings, goaway])),
      cause: "finished",
    },
  },
  "speaks HTTP/1": {
    act: (socket) => void socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"),
    cause: "http-refused http2",
  },
  "breaks HTTP/2": {
    ...{
      act: (socket) => void socket.write(frame(frameTypes.ping, 0, 3, Buffer.alloc(8))),
      cause: "http-refused http2",
    },
  },
};

for (const way of ways)
  for (const [what, { act, cause }] of Object.entries(lost))
    test(`${way}: an application that ${what} before the first request: GOAWAY, and ${cause}`, async () => {
      const app = await serve((socket) => socket.once("data", () => act(socket)));
      using under = reads(way, app.port, forward);
      const caller = await RawCaller.open(under.port);
      const last = await caller.frame(({ type }) => type === frameTypes.goaway);
      // The last stream, and NO_ERROR: the caller may ask anew, over another connection.
      assert.deepEqual([last?.payload.readUInt32BE(0), last?.payload.readUInt32BE(4)], [0, 0]);
      assert.equal(await caller.ended, "end");
      caller.socket.destroy();
      const closed = await under.engine.event("closed");
      assert.equal(`${closed.cause} ${closed.message}`.trim(), cause);
    });

for (const way of ways)
  test(`${way}: an application that has served, and ends the connection, has ended it in order`, async () => {
    const app = await serve((socket) => {
      const reader = new FrameReader();
      let preface = 24;
      socket.write(settings);
      socket.on("data", (bytes) => {
        const skipped = Math.min(preface, bytes.length);
        preface -= skipped;
        for (const { type, stream } of reader.push(bytes.subarray(skipped)))
          if (type === frameTypes.headers) socket.end(answer(stream));
      });
    });
    using under = reads(way, app.port, forward);
    const caller = await RawCaller.open(under.port);
    caller.socket.write(frame(frameTypes.headers, END_HEADERS | END_STREAM, 1, headOf({})));
    assert.notEqual(await caller.frame(({ type, stream }) => type === frameTypes.headers && stream === 1), undefined);
    assert.equal(await caller.ended, "end");
    caller.socket.destroy();
    const [ended, closed] = [await under.engine.event("request-ended"), await under.engine.event("closed")];
    assert.deepEqual([ended.outcome, ended.status, closed.cause], ["answered", 200, "finished"]);
  });
