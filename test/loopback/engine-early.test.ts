// tests · what a peer sends behind a CONNECT before the answer (docs/reference/failures.md, row A11): it waits and none of it is lost, it comes
// out of the stream's window and the buffer budget, and an end before the answer is a half-close.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import test from "node:test";
import type { ConnectRequest } from "../../agent/engine/events.ts";
import { installBoth, SERVER, serverEngine } from "./hbone-pair.ts";
import { answered, code, dataOf, goaways, heard, resets, windows } from "./heard-frames.ts";
import { connectBlock, DATA, END_HEADERS, END_STREAM, frame, HEADERS, RawPeer, RST_STREAM, u32 } from "./raw-h2.ts";
import { type Server, serve } from "./support.ts";
import type { TestEngine } from "./test-engine.ts";
import { until } from "./until.ts";

/** What a stream may carry before it is answered. */
const EARLY = 65_535;

type Slow = {
  readonly under: TestEngine;
  readonly app: Server;
  readonly got: Buffer[];
  readonly answer: (status?: number) => void;
};

/** An engine that answers a CONNECT only when the test says so, and an application that keeps what it gets and ends when its peer does. */
async function slowServer(said = ""): Promise<Slow> {
  installBoth();
  const got: Buffer[] = [];
  const app = await serve((socket) => {
    socket.on("data", (data) => got.push(data));
    socket.on("end", () => socket.end(said));
  });
  const waiting: ConnectRequest[] = [];
  const under = serverEngine(
    () => app.port,
    (event) => {
      if (event.type !== "connect-request") return undefined;
      waiting.push(event);
      // An answer to nobody: the right one comes later.
      return { conn: 0, generation: 0, type: "close" };
    },
  );
  const answer = (status = 200): void => {
    const event = waiting.shift();
    assert.ok(event !== undefined, "nothing waits for an answer");
    const { conn, generation } = event;
    under.engine.answer(
      status === 200
        ? {
            conn,
            generation,
            type: "dial",
            podIdx: 2,
            to: { address: "127.0.0.1", port: app.port },
            from: null,
            baggage: "",
          }
        : { conn, generation, type: "refuse", status },
    );
  };
  return { under, app, got, answer };
}

const connect = (stream: number, flags = 0): Buffer => frame(HEADERS, END_HEADERS | flags, stream, connectBlock);
test("DATA behind a CONNECT waits for the answer, without a byte of window given back, and none of it is lost", async () => {
  const { under, app, got, answer } = await slowServer();
  using _ = under;
  const peer = await RawPeer.connect(under.listen(2, "hbone"));
  const early = randomBytes(EARLY);
  peer.send(connect(1), ...[0, 16_384, 32_768, 49_152].map((at) => frame(DATA, 0, 1, early.subarray(at, at + 16_384))));
  await heard(peer);
  const ownWindow = windows(peer, 0);
  assert.ok(under.engine.stats().bufferBytes >= EARLY, "it waits in the buffers that are budgeted");
  assert.deepEqual([app.connections.length, answered(peer, 1), windows(peer, 1)], [0, false, 0]);
  answer();
  await until(() => answered(peer, 1), "the answer");
  await until(() => Buffer.concat(got).length >= EARLY, "all of it at the application");
  assert.ok(Buffer.concat(got).equals(early));
  await until(() => windows(peer, 1) >= (4 << 20) - EARLY, "the window of an answered stream");
  peer.send(frame(DATA, END_STREAM, 1, Buffer.from("later")));
  await until(() => dataOf(peer, 1).ended, "the application's end");
  assert.equal(Buffer.concat(got).subarray(EARLY).toString(), "later");
  assert.ok(windows(peer, 0) >= ownWindow);
  assert.deepEqual(resets(peer), []);
  assert.equal((await under.event("closed")).cause, "finished");
  assert.equal(under.engine.stats().bufferBytes, 0);
  peer.socket.destroy();
  app.close();
});

test("more DATA before the answer than the stream's window breaks flow control, and nothing is kept", async () => {
  const { under, app } = await slowServer();
  using _ = under;
  const peer = await RawPeer.connect(under.listen(2, "hbone"));
  peer.send(connect(1), ...Array.from({ length: 5 }, () => frame(DATA, 0, 1, Buffer.alloc(16_384))));
  await peer.closed;
  assert.deepEqual(goaways(peer), [code.FLOW_CONTROL_ERROR]);
  assert.equal((await under.event("closed")).cause, "protocol-error");
  assert.equal(under.engine.stats().bufferBytes, 0);
  assert.equal(app.connections.length, 0);
  app.close();
});

test("DATA before an answer that refuses reaches nobody, and its window is given back", async () => {
  const { under, app, answer } = await slowServer();
  using _ = under;
  const peer = await RawPeer.connect(under.listen(2, "hbone"));
  // 300 × 64,000 bytes are more than the tunnel's window of 16 MiB.
  for (let round = 0; round < 3; round++) {
    const streams = Array.from({ length: 100 }, (_, i) => 200 * round + 2 * i + 1);
    for (const stream of streams) {
      peer.send(connect(stream), ...[0, 1, 2, 3].map(() => frame(DATA, 0, stream, Buffer.alloc(16_000))));
    }
    await until(() => under.engine.stats().bufferBytes >= 100 * 64_000, `DATA of round ${round}`);
    await heard(peer);
    for (const _ of streams) answer(401);
    await until(() => streams.every((stream) => answered(peer, stream)), `answers of round ${round}`);
    assert.equal(under.engine.stats().bufferBytes, 0);
  }
  assert.equal(app.connections.length, 0);
  assert.ok(!peer.socket.destroyed);
  peer.socket.destroy();
  app.close();
});

test("DATA before the answer comes out of the buffer budget: without room the stream is refused with 503", async () => {
  const { under, app } = await slowServer();
  using _ = under;
  const peer = await RawPeer.connect(under.listen(2, "hbone"));
  peer.send(connect(1), connect(3));
  await until(() => under.engine.stats().streams === 2, "both to be asked for");
  // Room for a small chunk of 4,048 bytes, which is more than 80 % and less than 95 % of it.
  under.engine.setBufferBudget(4_700);
  peer.send(frame(DATA, 0, 1, Buffer.alloc(1_000)), frame(DATA, 0, 3, Buffer.alloc(1_000)));
  await until(() => answered(peer, 3), "the answer");
  assert.equal(answered(peer, 1), false);
  const shed = await under.event("closed");
  assert.equal(shed.cause, "shed");
  assert.equal(under.engine.stats().shedTotal, 1);
  peer.socket.destroy();
  await until(() => under.engine.stats().bufferBytes === 0, "nothing is kept");
  app.close();
});

test("DATA before the answer: a pod that has more than its part of the budget is refused, and another pod's is kept", async () => {
  const { under, app, got, answer } = await slowServer();
  using _ = under;
  under.engine.setPod(3, { netnsCookie: 3n, identity: SERVER });
  const greedy = await RawPeer.connect(under.listen(2, "hbone"));
  const modest = await RawPeer.connect(under.listen(3, "hbone"));
  greedy.send(connect(1), connect(3), frame(DATA, 0, 1, Buffer.alloc(16_000)), frame(DATA, 0, 1, Buffer.alloc(16_000)));
  await until(() => under.engine.stats().bufferBytes >= 32_000, "what the first pod holds");
  modest.send(connect(1));
  await until(() => under.engine.stats().streams === 3, "all to be asked for");
  under.engine.setBufferBudget(Math.ceil(under.engine.stats().bufferBytes / 0.81));
  modest.send(frame(DATA, 0, 1, Buffer.from("hello")));
  await heard(modest);
  assert.deepEqual(under.closed(), []);
  greedy.send(frame(DATA, 0, 3, Buffer.alloc(1_000)));
  assert.equal((await under.event("closed")).cause, "shed");
  for (let i = 0; i < 3; i++) answer();
  await until(() => Buffer.concat(got).includes("hello"), "the other pod's bytes at the application");
  for (const { socket } of [greedy, modest]) socket.destroy();
  app.close();
});

test("a CONNECT with END_STREAM, and DATA with END_STREAM before the answer, are half-closed", async () => {
  const { under, app, got, answer } = await slowServer("and goodbye");
  using _ = under;
  const peer = await RawPeer.connect(under.listen(2, "hbone"));
  peer.send(connect(1, END_STREAM));
  await heard(peer);
  answer();
  await until(() => dataOf(peer, 1).ended, "the application's end");
  assert.deepEqual(dataOf(peer, 1), { text: "and goodbye", ended: true });
  assert.equal(got.length, 0);
  peer.send(connect(3), frame(DATA, END_STREAM, 3, Buffer.from("one word")));
  await heard(peer);
  answer();
  await until(() => dataOf(peer, 3).ended, "the application's end");
  assert.deepEqual([Buffer.concat(got).toString(), dataOf(peer, 3).text], ["one word", "and goodbye"]);
  peer.send(connect(5, END_STREAM));
  await heard(peer);
  answer(401);
  await until(() => answered(peer, 5), "the refusal");
  await heard(peer);
  assert.deepEqual(resets(peer), [], "both halves of a refused CONNECT are over: there is nothing to reset");
  assert.deepEqual(
    under.closed().map(({ cause }) => cause),
    ["finished", "finished", "refused"],
  );
  peer.socket.destroy();
  app.close();
});

test("a peer that resets what it sent early leaves nothing behind", async () => {
  const { under, app, answer } = await slowServer();
  using _ = under;
  const peer = await RawPeer.connect(under.listen(2, "hbone"));
  peer.send(connect(1), frame(DATA, 0, 1, Buffer.alloc(10_000)), frame(RST_STREAM, 0, 1, u32(8)));
  assert.equal((await under.event("closed")).cause, "reset-by-downstream");
  answer();
  await heard(peer);
  assert.equal(under.engine.stats().bufferBytes, 0);
  assert.equal(app.connections.length, 0);
  peer.socket.destroy();
  app.close();
});
