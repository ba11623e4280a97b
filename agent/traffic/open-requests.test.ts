// tests · open requests of a connection against a plain list.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import test from "node:test";
import { Dice } from "../../test/support/dice.ts";
import { OpenRequests } from "./open-requests.ts";

test("what is added is found until it is removed, the oldest first, in any order", () => {
  const seed = randomInt(2 ** 31);
  const dice = new Dice(seed);
  for (let round = 0; round < 200; round++) {
    const requests = new OpenRequests<{ readonly request: number }>();
    let expected: number[] = [];
    for (let next = 1; next < 40; next++) {
      if (dice.chance(60)) {
        requests.add({ request: next });
        expected.push(next);
      } else {
        const gone = expected.length === 0 || dice.chance(10) ? 99 : dice.pick(expected);
        requests.remove(gone);
        expected = expected.filter((each) => each !== gone);
      }
      assert.deepEqual(requests.numbers(), expected, `seed ${seed}, round ${round}`);
      assert.equal(requests.oldest?.request, expected[0], `seed ${seed}, round ${round}`);
      for (const each of expected) assert.equal(requests.find(each)?.request, each, `seed ${seed}`);
      assert.equal(requests.find(99), null);
    }
  }
});

test("HTTP/1 has a single one", () => {
  const requests = new OpenRequests<{ readonly request: number }>();
  requests.set({ request: 1 });
  requests.set({ request: 2 });
  assert.deepEqual(requests.numbers(), [2]);
  requests.set(null);
  assert.equal(requests.oldest, null);
});
