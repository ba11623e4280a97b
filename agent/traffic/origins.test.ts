import assert from "node:assert/strict";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { seeded } from "../../test/support/dice.ts";
import { ORLOP_MOST_ORIGIN } from "../abi.ts";
import type { Origin } from "../engine/answers.ts";
import { type OriginRoute, Origins } from "./origins.ts";

function engine() {
  const known = new Map<number, Origin>();
  const dropped: number[] = [];
  return {
    ...{ known, dropped },
    define: (origin: Origin): void => void known.set(origin.origin, origin),
    drop: (origin: number): void => {
      known.delete(origin);
      dropped.push(origin);
    },
  };
}
const to = { address: "10.0.0.2", port: 80 };
const relay: OriginRoute = { type: "relay", to };
const dial: OriginRoute = { type: "dial", to, podIdx: 4, from: null };
const tunnel: OriginRoute = {
  ...{ type: "tunnel", to: { address: "10.0.0.2", port: 15_008 }, identity: 1, expect: 2 },
  ...{ authority: "10.0.0.2:80", baggage: "b", forwarded: "f" },
};

test("one number for each pod and each way; nothing of a way is left out of it", () => {
  const known = engine();
  const origins = new Origins(known);
  const ways: readonly (readonly [number, OriginRoute])[] = [
    [1, relay],
    [2, relay],
    [1, { ...relay, to: { ...to, port: 81 } }],
    [1, dial],
    [1, { ...dial, podIdx: 5 }],
    [1, { ...dial, from: { address: "10.0.0.1", port: 0 } }],
    [1, tunnel],
    [1, { ...tunnel, identity: 3 }],
    [1, { ...tunnel, expect: 3 }],
    [1, { ...tunnel, authority: "10.0.0.2:81" }],
    [1, { ...tunnel, baggage: "c" }],
    [1, { ...tunnel, forwarded: "g" }],
    [1, { ...tunnel, to: { ...tunnel.to, address: "10.0.0.3" } }],
  ];
  const numbers = ways.map(([podIdx, route]) => origins.numberOf(podIdx, route));
  assert.equal(new Set(numbers).size, ways.length);
  assert.deepEqual(
    ways.map(([podIdx, route]) => origins.numberOf(podIdx, { ...route })),
    numbers,
  );
  const defined = known.known.get(numbers[3] ?? 0);
  assert.deepEqual([defined?.origin, defined?.podIdx, defined?.route], [numbers[3], 1, dial]);
});

test("a way whose connections are kept otherwise has another number; the same words are the same pool", () => {
  const known = engine();
  const origins = new Origins(known);
  const pool = { connectMs: 1, idleMs: 2, mostRequests: 3 };
  const pools = [undefined, pool, { ...pool, connectMs: 4 }, { ...pool, idleMs: 4 }, { ...pool, mostRequests: 4 }];
  const numbers = pools.map((each) => origins.numberOf(1, relay, each));
  assert.equal(new Set(numbers).size, pools.length);
  assert.deepEqual(
    pools.map((each) => origins.numberOf(1, { ...relay }, each && { ...each })),
    numbers,
  );
  assert.deepEqual(
    numbers.map((number) => known.known.get(number)?.pool),
    pools,
  );
  assert.notEqual(origins.numberOf(1, relay, pool, "copies"), numbers[1]);
});

test("a pod that goes takes along what was from it and to it, and its numbers are never given again", () => {
  const known = engine();
  const origins = new Origins(known);
  const own = origins.numberOf(4, relay);
  const toIt = origins.numberOf(1, dial);
  const other = origins.numberOf(1, relay);
  origins.dropPod(4);
  assert.deepEqual(known.dropped.toSorted(), [own, toIt].toSorted());
  assert.equal(origins.numberOf(1, relay), other);
  assert.ok(![own, toIt].includes(origins.numberOf(1, tunnel)));
});

test("over the limit a way that was not used goes", () => {
  const known = engine();
  const origins = new Origins(known, 2);
  const first = origins.numberOf(1, relay);
  const second = origins.numberOf(1, dial);
  const third = origins.numberOf(1, tunnel);
  assert.deepEqual(known.dropped, [first]);
  assert.equal(origins.numberOf(1, tunnel), third);
  const fourth = origins.numberOf(1, relay);
  assert.deepEqual(known.dropped, [first, second]);
  assert.deepEqual([...known.known.keys()], [third, fourth]);
});

test("behind the last number the first comes", () => {
  const known = engine();
  const origins = new Origins(known, 10, ORLOP_MOST_ORIGIN - 1);
  const of = (podIdx: number): number => origins.numberOf(podIdx, relay);
  assert.deepEqual([of(1), of(2), of(3)], [ORLOP_MOST_ORIGIN, 1, 2]);
});

test("random requests, pods that go and a limit: a known way keeps its number, which no other has before or after it", () => {
  const seed = Number(process.env.ORLOP_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
  const random = seeded(seed);
  const draw = (below: number): number => Math.floor(random() * below);
  for (let run = 0; run < 200; run++) {
    const known = engine();
    const limit = 1 + draw(12);
    const origins = new Origins(known, limit);
    const given = new Map<number, OriginRoute & { readonly of: number }>();
    for (let step = 0; step < 100; step++) {
      if (draw(20) === 0) {
        const gone = draw(3);
        origins.dropPod(gone);
        for (const { podIdx, route } of known.known.values())
          assert.ok(podIdx !== gone && !(route.type === "dial" && route.podIdx === gone), `seed ${seed}`);
        continue;
      }
      const podIdx = draw(3);
      const place = { address: `10.0.0.${draw(3)}`, port: 80 + draw(2) };
      const from = draw(2) === 0 ? null : { address: "10.0.0.9", port: 0 };
      const ways: readonly OriginRoute[] = [
        { type: "relay", to: place },
        { type: "dial", to: place, podIdx: draw(3), from },
        { ...tunnel, to: place, identity: draw(2), forwarded: `f${draw(2)}` },
      ];
      const route: OriginRoute = ways[draw(ways.length)] ?? relay;
      const before: Origin | undefined = [...known.known.values()].find(
        (each) => each.podIdx === podIdx && isDeepStrictEqual(each.route, route),
      );
      const number = origins.numberOf(podIdx, route);
      if (before !== undefined) assert.equal(number, before.origin, `seed ${seed}`);
      const defined = known.known.get(number);
      assert.deepEqual([defined?.podIdx, defined?.route], [podIdx, route], `seed ${seed}`);
      assert.deepEqual(given.get(number) ?? { ...route, of: podIdx }, { ...route, of: podIdx }, `seed ${seed}`);
      given.set(number, { ...route, of: podIdx });
      assert.ok(known.known.size <= limit, `seed ${seed}`);
    }
  }
});
