// tests · what a call of gRPC has left, as its application hears it: never more than its caller has said, nor than its route gives it.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import test from "node:test";
import type { Forward } from "../../agent/engine/answers.ts";
import { grpcTimeoutMs } from "../../agent/l7/grpc-timeout.ts";
import { Dice } from "../support/dice.ts";
import { ask, h2cApplication, h2cCaller, type OnStream } from "./h2c.ts";
import { serves, to, ways } from "./origin-engine.ts";

const REFUSED_STREAM = 7;
const hears: OnStream = (stream, headers) =>
  stream.respond({ ":status": 200, "x-heard": headers["grpc-timeout"] ?? "nothing" }, { endStream: true });
const call = (text: string | null, type = "application/grpc") => ({
  ...{ ":method": "POST", ":path": "/", "content-type": type },
  ...(text !== null && { "grpc-timeout": text }),
});

for (const way of ways) {
  test(`${way}: an application hears the sooner of its caller's deadline and its route's`, async () => {
    const app = await h2cApplication(hears);
    let limits: Partial<Forward> = {};
    using under = serves(way, [app.port], (event) => to(event, 1, limits));
    using caller = h2cCaller(under.port);
    const heard = async (text: string | null, of: Partial<Forward>, type?: string): Promise<string> => {
      limits = of;
      return String((await ask(caller.session, { headers: call(text, type) })).headers["x-heard"]);
    };
    // As it came: it says less, or nothing that can be read, or nobody has a deadline.
    assert.equal(await heard("5S", {}), "5S");
    assert.equal(await heard("100u", { timeoutMs: 5_000 }), "100u");
    assert.equal(await heard("4999m", { timeoutMs: 60_000, tryTimeoutMs: 50_000 }), "4999m");
    assert.equal(await heard("soon", { timeoutMs: 5_000 }), "soon");
    assert.equal(await heard(null, {}), "nothing");
    assert.equal(await heard(null, { timeoutMs: 5_000 }, "text/plain"), "nothing");
    for (const [text, of] of [
      ["1M", { timeoutMs: 5_000 }],
      ["99999999H", { tryTimeoutMs: 5_000 }],
      ["8S", { timeoutMs: 60_000, tryTimeoutMs: 5_000 }],
      [null, { timeoutMs: 5_000, tryTimeoutMs: 60_000 }],
      ["9S", { timeoutMs: 5_000 }],
    ] as const) {
      const left = await heard(text, of);
      assert.ok(
        /^[0-9]+m$/.test(left) && grpcTimeoutMs(left) <= 5_000 && grpcTimeoutMs(left) > 1_000,
        `${text} ${left}`,
      );
    }
    // Longer than eight digits of milliseconds.
    assert.match(await heard(null, { timeoutMs: 2 ** 31 - 1 }), /^21474[0-9]{2}S$/);
    assert.deepEqual(under.errors(), []);
  });
}

test("another try has what the first has left", async () => {
  const heard: number[] = [];
  const app = await h2cApplication((stream, headers) => {
    heard.push(grpcTimeoutMs(String(headers["grpc-timeout"])));
    if (heard.length === 3) return stream.respond({ ":status": 200 }, { endStream: true });
    setTimeout(() => stream.close(REFUSED_STREAM), 100);
  });
  const limits: Partial<Forward> = { timeoutMs: 20_000, asks: "any" };
  using under = serves(
    "direct",
    [app.port],
    (event) => to(event, 1, limits),
    (event) => to({ ...event, type: "request" } as never, 1, limits),
  );
  using caller = h2cCaller(under.port);
  assert.equal((await ask(caller.session, { headers: call("30S") })).status, 200);
  const [first = 0, second = 0, third = 0] = heard;
  // The engine's clock and the application's timers are two: a few milliseconds are nobody's.
  assert.ok(first <= 20_000 && second <= first - 90 && third <= second - 90 && third > 10_000, String(heard));
});

test("whatever is said and given, an application never hears more than its caller has said", async () => {
  const app = await h2cApplication(hears);
  const seed = randomInt(2 ** 31);
  const dice = new Dice(seed);
  const given = new Map<string, Partial<Forward>>();
  using under = serves("direct", [app.port], (event) => to(event, 1, given.get(event.fields.first("x-nth", 9)) ?? {}));
  using caller = h2cCaller(under.port);
  const ms = (): number => dice.pick([0, 5_000, 60_000, 10_000 + dice.roll(2 ** 20), 2 ** 31 - 1 - dice.roll(1_000)]);
  await Promise.all(
    Array.from({ length: 300 }, async (_, nth) => {
      const limits = { timeoutMs: ms(), tryTimeoutMs: ms() };
      given.set(String(nth), limits);
      const text = `${dice.roll(10 ** (1 + dice.roll(9)))}${dice.pick([..."HMSmun", "", "x"])}`;
      const left = String(
        (await ask(caller.session, { headers: { ...call(text), "x-nth": String(nth) } })).headers["x-heard"],
      );
      const where = `seed ${seed}: ${text} with ${JSON.stringify(limits)} was ${left}`;
      if (left === text) return;
      const said = grpcTimeoutMs(text);
      const least = Math.min(...[limits.timeoutMs, limits.tryTimeoutMs].filter((limit) => limit > 0));
      assert.ok(said > 0 && grpcTimeoutMs(left) <= said && grpcTimeoutMs(left) <= least, where);
      assert.ok(said > least - 2_000, where);
    }),
  );
  assert.deepEqual(under.errors(), []);
});
