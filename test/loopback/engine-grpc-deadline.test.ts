// tests · a call of gRPC whose deadline passes: its server has the same deadline, and its caller hears of it whichever clock was first.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import test from "node:test";
import { setTimeout } from "node:timers/promises";
import type { EngineEvent } from "../../agent/engine/events.ts";
import { grpcTimeoutMs } from "../../agent/l7/grpc-timeout.ts";
import { Dice } from "../support/dice.ts";
import { ask, type H2cResponse, h2cApplication, h2cCaller } from "./h2c.ts";
import { endedOf, serves, to, ways } from "./origin-engine.ts";

const REFUSED_STREAM = 7;
const CANCEL = 8;
const DEADLINE_EXCEEDED = "4";
const OK = { ":status": 200, "content-type": "application/grpc" };
const MESSAGE = Buffer.from([0, 0, 0, 0, 1, 0x77]);

/** What a server does when the time that its call was given is over. */
const ends = {
  resets: (stream: ServerHttp2Stream) => stream.close(CANCEL),
  answers: (stream: ServerHttp2Stream) => {
    if (stream.headersSent) return stream.end();
    stream.respond({ ...OK, "grpc-status": DEADLINE_EXCEEDED }, { endStream: true });
  },
  "ends its connection": (stream: ServerHttp2Stream) => stream.session?.destroy(),
};
type End = keyof typeof ends;

/** Its response has begun before, with so many messages of its payload, unless they are -1. Times are milliseconds. */
type Asked = { readonly ms: number; readonly end: End; readonly afterMs?: number; readonly messages?: number };
/** By `x-nth`. Each server says when a call came and when it ended it, by `performance.now()`. */
type Timed = Asked & { cameMs?: number; endedMs?: number };
type Calls = Map<string, Timed>;

const application = (calls: Calls) =>
  h2cApplication((stream, headers) => {
    const asked = calls.get(String(headers["x-nth"])) ?? assert.fail();
    const { end, afterMs = 0, messages = -1 } = asked;
    asked.cameMs = performance.now();
    if (messages >= 0) {
      stream.respond(OK, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": DEADLINE_EXCEEDED }));
      for (let sent = 0; sent < messages; sent++) stream.write(MESSAGE);
    }
    void setTimeout(Math.max(1, grpcTimeoutMs(String(headers["grpc-timeout"])) + afterMs)).then(() => {
      if (stream.destroyed) return;
      asked.endedMs = performance.now();
      ends[end](stream);
    });
  });

const call = (nth: string) => ({
  headers: { ":method": "POST", ":path": "/", "content-type": "application/grpc", "x-nth": nth },
});
const statusOf = ({ headers, trailers }: H2cResponse): unknown => trailers["grpc-status"] ?? headers["grpc-status"];

for (const way of ways) {
  test(`${way}: a call over its time is DEADLINE_EXCEEDED behind what came of it, whatever its server does then and soon after`, async () => {
    const calls: Calls = new Map();
    const app = await application(calls);
    const msOf = (nth: string): number => calls.get(nth)?.ms ?? assert.fail();
    using under = serves(way, [app.port], (event) => to(event, 1, { timeoutMs: msOf(event.fields.first("x-nth", 9)) }));
    using caller = h2cCaller(under.port);
    const seed = randomInt(2 ** 31);
    const dice = new Dice(seed);
    let begun = 0;
    const hears = async (nth: string, asked: Asked): Promise<void> => {
      calls.set(nth, asked);
      let heard = await ask(caller.session, call(nth));
      // It came to the connection that the call before had ended: nobody has seen it.
      while (asked.end === "ends its connection" && heard.code === REFUSED_STREAM)
        heard = await ask(caller.session, call(nth));
      const where = `seed ${seed}: ${JSON.stringify(asked)} ${JSON.stringify(heard)}`;
      assert.deepEqual([heard.status, heard.code, statusOf(heard)], [200, 0, DEADLINE_EXCEEDED], where);
      // What the server wrote may have come too late, too.
      assert.ok(heard.body.length <= Math.max(0, asked.messages ?? 0) * MESSAGE.length, where);
      if (heard.body.length > 0) begun++;
    };
    for (let round = 0; round < 4; round++) {
      await Promise.all(
        Array.from({ length: 50 }, (_, nth) =>
          hears(`${round} ${nth}`, {
            ...{ ms: 20 + dice.roll(450), end: dice.pick(["resets", "answers"]), afterMs: dice.pick([0, 0, 1, 2, 60]) },
            messages: dice.roll(4) - 1,
          }),
        ),
      );
    }
    for (let nth = 0; nth < 20; nth++)
      await hears(`alone ${nth}`, { ms: 20 + dice.roll(30), end: "ends its connection", messages: dice.roll(3) - 1 });
    assert.ok(begun > 20, String(begun));
    assert.deepEqual(under.errors(), []);
  });
}

test("a call that its server cancels at any moment is CANCELLED before its deadline, and DEADLINE_EXCEEDED from then on", async () => {
  const calls: Calls = new Map();
  const app = await application(calls);
  const msOf = (nth: string): number => calls.get(nth)?.ms ?? assert.fail();
  using under = serves("direct", [app.port], (event) =>
    to(event, 1, { timeoutMs: msOf(event.fields.first("x-nth", 9)) }),
  );
  using caller = h2cCaller(under.port);
  const seed = randomInt(2 ** 31);
  const dice = new Dice(seed);
  const heardAs = { cancelled: 0, late: 0 };
  for (let round = 0; round < 4; round++) {
    await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const nth = `${round} ${index}`;
        const ms = 30 + dice.roll(400);
        const asked: Timed = {
          ...{ ms, end: "resets", afterMs: dice.pick([-ms, 0, 30]) + dice.roll(ms) - dice.roll(20) },
          messages: dice.roll(3) - 1,
        };
        calls.set(nth, asked);
        const beganMs = performance.now();
        const heard = await ask(caller.session, call(nth));
        const tookMs = performance.now() - beganMs;
        const { cameMs = 0, endedMs = Number.POSITIVE_INFINITY } = asked;
        const where = `seed ${seed}: ${JSON.stringify(asked)} after ${tookMs} ms ${JSON.stringify(heard)}`;
        if (heard.code === CANCEL) {
          heardAs.cancelled++;
          assert.ok(endedMs - cameMs < ms, where);
        } else {
          heardAs.late++;
          assert.deepEqual([heard.code, statusOf(heard)], [0, DEADLINE_EXCEEDED], where);
          // Milliseconds of three clocks.
          assert.ok(tookMs > ms - 5, where);
        }
      }),
    );
  }
  assert.ok(heardAs.cancelled > 50 && heardAs.late > 50, JSON.stringify(heardAs));
  assert.deepEqual(new Set(endedOf(under).map((event) => event.outcome)), new Set(["deadline", "reset-by-upstream"]));
});

test("a try whose server cancels it at its deadline has timed out, and the next may answer", async () => {
  const calls: Calls = new Map();
  const app = await application(calls);
  const other = await h2cApplication((stream) => stream.respond({ ...OK, "grpc-status": "0" }, { endStream: true }));
  const failures: string[] = [];
  const limits = { timeoutMs: 20_000, tryTimeoutMs: 60, asks: "any" } as const;
  using under = serves(
    "direct",
    [app.port, other.port],
    (event) => to(event, 1, limits),
    (event: EngineEvent & { readonly type: "try-failed" }) => {
      failures.push(event.failure);
      return to({ ...event, type: "request" } as never, 2, { ...limits, tryTimeoutMs: 0 });
    },
  );
  using caller = h2cCaller(under.port);
  await Promise.all(
    Array.from({ length: 60 }, async (_, nth) => {
      calls.set(String(nth), { ms: 60, end: "resets", afterMs: nth % 4 });
      assert.equal(statusOf(await ask(caller.session, call(String(nth)))), "0");
    }),
  );
  assert.deepEqual(failures, Array(60).fill("timeout"));
});

test("a caller that takes nothing of a call over its time hears its end, too", async () => {
  // As many bytes as the caller's window has, one less, and more.
  for (const bytes of [65_535, 65_534, 200_000]) {
    const app = await h2cApplication((stream) => {
      stream.respond(OK);
      stream.write(Buffer.alloc(bytes));
    });
    using under = serves("direct", [app.port], (event) => to(event, 1, { timeoutMs: 200 }));
    using caller = h2cCaller(under.port);
    const stream = caller.session.request(call("").headers, { endStream: true });
    stream.on("error", () => {});
    let status: unknown;
    const hears = (fields: IncomingHttpHeaders): void => {
      status = fields["grpc-status"] ?? status;
    };
    // In its head if the time was over before the response came.
    stream.on("response", hears).on("trailers", hears);
    const closed = new Promise((resolve) => stream.once("close", resolve));
    stream.once("response", () => stream.pause());
    while (!endedOf(under).some((event) => event.outcome === "deadline")) await setTimeout(20);
    stream.resume();
    await closed;
    assert.ok(status === DEADLINE_EXCEEDED || stream.rstCode === CANCEL, `${bytes}: ${status} ${stream.rstCode}`);
  }
});
