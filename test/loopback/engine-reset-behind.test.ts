// tests · answers of HTTP/2 that are whole in the agent's kernel when their application resets the connection: each arrives, and none that is
// cut looks whole, also where the agent meets the reset while it writes.
import assert from "node:assert/strict";
import test from "node:test";
import { Worker } from "node:worker_threads";
import type { RequestEvent } from "../../agent/engine/events.ts";
import { END_HEADERS, END_STREAM, frame, frameTypes } from "../support/h2-frames.ts";
import { serves, to } from "./origin-engine.ts";
import { headOf, RawCaller } from "./raw-h2c.ts";
import { forward, reads } from "./read-engine.ts";
import { closedAtEnd } from "./support.ts";

/** What application and test say to each other, in one word of memory. */
const [ASKED, ANSWER, IS_RESET] = [1, 2, 3];
const BODY = 30_000;

/**
 * An application on a thread of its own: it says ASKED when a request has come, and at ANSWER sends all of `answer`, waits until the agent's
 * kernel has that, resets the connection and says IS_RESET.
 */
async function application(answer: Uint8Array, said: Int32Array): Promise<number> {
  const code = `
    const { parentPort, workerData: { answer, said, settings, prefaceBytes, kernel } } = require("node:worker_threads");
    const say = (what) => { Atomics.store(said, 0, what); Atomics.notify(said, 0); };
    let onTheirWay;
    const server = require("node:net").createServer((socket) => {
      socket.on("error", () => {});
      socket.write(settings);
      let heard = Buffer.alloc(0);
      let asked = false;
      socket.on("data", (part) => {
        heard = Buffer.concat([heard, part]);
        for (let at = prefaceBytes; !asked && at + 9 <= heard.length; at += 9 + heard.readUIntBE(at, 3)) asked = heard[at + 3] === 1;
        if (!asked) return;
        socket.removeAllListeners("data").pause();
        say(${ASKED});
        const answers = setInterval(() => {
          if (Atomics.load(said, 0) !== ${ANSWER}) return;
          clearInterval(answers);
          socket.write(answer, () => {
            const goes = setInterval(() => {
              if (onTheirWay(server.address().port) > 0) return;
              clearInterval(goes);
              socket.on("close", () => say(${IS_RESET})).resetAndDestroy();
            }, 1);
          });
        }, 1);
      });
    });
    import(kernel).then((module) => {
      ({ onTheirWay } = module);
      server.listen(0, "127.0.0.1", () => parentPort.postMessage(server.address().port));
    });`;
  const workerData = {
    answer,
    said,
    settings: frame(frameTypes.settings, 0, 0),
    prefaceBytes: 24,
    kernel: new URL("./on-their-way.ts", import.meta.url).href,
  };
  const worker = new Worker(code, { eval: true, workerData });
  closedAtEnd({ close: () => void worker.terminate() });
  return new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
}

/** A head of the status 200 from the static table (RFC 7541, appendix A), and a body. */
const answerOf = (stream: number, bytes: number, isWhole: boolean): Buffer =>
  Buffer.concat([
    frame(frameTypes.headers, END_HEADERS, stream, Buffer.from([0x80 | 8])),
    ...Array.from({ length: bytes / 10_000 }, (_, at) =>
      frame(frameTypes.data, isWhole && at === bytes / 10_000 - 1 ? END_STREAM : 0, stream, Buffer.alloc(10_000, 120)),
    ),
  ]);

/** The type of the frame that ends the stream, and the bytes of payload before it. */
async function heardOf(caller: RawCaller, stream: number) {
  const of = caller.frame(
    (each) =>
      each.stream === stream &&
      (each.type === frameTypes.rstStream || (each.type === frameTypes.data && (each.flags & END_STREAM) !== 0)),
  );
  const type = (await of)?.type;
  const bytes = caller.frames
    .filter((each) => each.type === frameTypes.data && each.stream === stream)
    .reduce((sum, { payload }) => sum + payload.length, 0);
  return { type, bytes };
}

for (const way of ["read", "routed"] as const)
  for (const isWhole of [true, false])
    test(`${way}: an answer that is ${isWhole ? "whole" : "cut"} before its application resets is so for its caller, where the next request meets the reset`, async () => {
      const said = new Int32Array(new SharedArrayBuffer(4));
      const appPort = await application(answerOf(1, BODY, isWhole), said);
      // The engine's thread waits here while all of it happens, and writes the second request before it has looked at its sockets again.
      const meanwhile = (): void => {
        Atomics.store(said, 0, ANSWER);
        assert.equal(Atomics.wait(said, 0, ANSWER, 30_000), "ok");
      };
      const decide = (event: RequestEvent) => {
        if (event.target === "/second") meanwhile();
        return way === "read" ? forward(event) : to(event, 1);
      };
      using under = way === "read" ? reads("plaintext", appPort, decide) : serves("direct", [appPort], decide);
      const caller = await RawCaller.open(under.port);
      const ask = (stream: number, path: string): void =>
        void caller.socket.write(
          frame(frameTypes.headers, END_HEADERS | END_STREAM, stream, headOf({ ":path": path })),
        );
      ask(1, "/first");
      const first = Atomics.waitAsync(said, 0, 0);
      if (first.async) await first.value;
      assert.equal(Atomics.load(said, 0), ASKED);
      ask(3, "/second");
      const { type, bytes } = await heardOf(caller, 1);
      assert.equal(type, isWhole ? frameTypes.data : frameTypes.rstStream);
      if (isWhole) assert.equal(bytes, BODY);
      // Nobody has answered the second, and nobody forgets it.
      const other = await caller.frame(
        ({ type, stream }) => stream === 3 && (type === frameTypes.headers || type === frameTypes.rstStream),
      );
      assert.ok(other);
      caller.socket.destroy();
    });

for (const isWhole of [true, false])
  test(`routed through a tunnel: an answer that is ${isWhole ? "whole" : "cut"} before its application resets is so for its caller`, async () => {
    const said = new Int32Array(new SharedArrayBuffer(4));
    const appPort = await application(answerOf(1, BODY, isWhole), said);
    using under = serves("tunnel", [appPort]);
    const caller = await RawCaller.open(under.port);
    caller.socket.write(frame(frameTypes.headers, END_HEADERS | END_STREAM, 1, headOf({})));
    const asked = Atomics.waitAsync(said, 0, 0);
    if (asked.async) await asked.value;
    // Both agents' threads are this thread: they find answer and reset together.
    Atomics.store(said, 0, ANSWER);
    assert.equal(Atomics.wait(said, 0, ANSWER, 30_000), "ok");
    const { type, bytes } = await heardOf(caller, 1);
    assert.equal(type, isWhole ? frameTypes.data : frameTypes.rstStream);
    if (isWhole) assert.equal(bytes, BODY);
    caller.socket.destroy();
  });
