// Ring hash and Maglev: shares by weight, and which keys move when endpoints come, go or fail.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { describe, test } from "node:test";
import { seeded } from "../../test/support/dice.ts";
import type { HashTable } from "../mesh/traffic-policy.ts";
import { endpointOfKey } from "./consistent-hash.ts";
import type { Candidate } from "./endpoints.ts";
import { hashKeyOf } from "./hash-key.ts";

const endpoint = (nth: number, weight = 1): Candidate => ({
  ...{ workload: null, address: `10.0.${nth >> 8}.${nth & 255}`, port: 80, weight, healthy: true },
});
const keys = Array.from({ length: 20_000 }, (_, nth) => `user ${nth}`);
const tables: readonly HashTable[] = [
  { kind: "ring", size: 4_096 },
  { kind: "maglev", size: 65_537 },
];
const seed = randomInt(2 ** 31);

for (const table of tables)
  describe(`${table.kind} (seed ${seed})`, () => {
    const at = (all: readonly Candidate[], key: string, eligible: readonly Candidate[] = all): string =>
      endpointOfKey(all, eligible, table, key)?.address ?? "";
    const shares = (all: readonly Candidate[]): ReadonlyMap<string, number> => {
      const counts = new Map<string, number>();
      for (const key of keys) counts.set(at(all, key), (counts.get(at(all, key)) ?? 0) + 1);
      return counts;
    };

    test("shares are those of the weights", () => {
      const all = [1, 1, 2, 4].map((weight, nth) => endpoint(nth, weight));
      const counts = shares(all);
      for (const { address, weight } of all) {
        const share = ((counts.get(address) ?? 0) / keys.length) * 8;
        const off = table.kind === "maglev" ? 0.06 : 0.25;
        assert.ok(Math.abs(share - weight) < weight * off, `${address}: ${share} in place of ${weight}`);
      }
    });

    test("whatever order the endpoints come in, a key has the same", () => {
      const all = Array.from({ length: 9 }, (_, nth) => endpoint(nth));
      const random = seeded(seed);
      const other = all.toSorted(() => random() - 0.5);
      for (const key of keys.slice(0, 2_000)) assert.equal(at(other, key), at(all, key));
    });

    test("an endpoint that is left out moves its own keys alone, to several others; back, it has the same keys", () => {
      const all = Array.from({ length: 10 }, (_, nth) => endpoint(nth));
      const [, , gone] = all;
      const rest = all.filter((each) => each !== gone);
      const heirs = new Set<string>();
      for (const key of keys) {
        const before = at(all, key);
        const now = at(all, key, rest);
        if (before === gone?.address) heirs.add(now);
        else assert.equal(now, before);
      }
      assert.equal(heirs.size, 9);
    });

    test("an endpoint that comes takes about its share, and few other keys move", () => {
      const all = Array.from({ length: 10 }, (_, nth) => endpoint(nth));
      const more = [...all, endpoint(10)];
      let taken = 0;
      let moved = 0;
      for (const key of keys) {
        const now = at(more, key);
        if (now === endpoint(10).address) taken += 1;
        else if (now !== at(all, key)) moved += 1;
      }
      assert.ok(Math.abs(taken / keys.length - 1 / 11) < 0.03, `${taken} taken`);
      assert.ok(moved <= (table.kind === "ring" ? 0 : keys.length * 0.05), `${moved} moved`);
    });

    test("nobody, a single endpoint, weights of 0 and far apart", () => {
      assert.equal(endpointOfKey([], [], table, "a"), undefined);
      const [one, none, heavy] = [endpoint(1), endpoint(2, 0), endpoint(3, 1_000_000)];
      assert.equal(endpointOfKey([one], [one], table, "a"), one);
      const all = [one, none, heavy];
      for (const key of keys.slice(0, 500)) assert.notEqual(endpointOfKey(all, [one, heavy], table, key), none);
    });
  });

test("a key is what the rule names of the request; without it there is none", () => {
  const header = (name: string): readonly string[] =>
    ({ "x-user": ["a", "b"], cookie: ["x=1; sid=s7", "sid=other"] })[name] ?? [];
  const request = { client: { address: "10.0.0.9" }, target: "/a?user=%41nn&b", header };
  assert.equal(hashKeyOf({ of: "header", name: "x-user" }, request), "a,b");
  assert.equal(hashKeyOf({ of: "header", name: "x-other" }, request), null);
  assert.equal(hashKeyOf({ of: "cookie", name: "sid" }, request), "s7");
  assert.equal(hashKeyOf({ of: "cookie", name: "si" }, request), null);
  assert.equal(hashKeyOf({ of: "query", name: "user" }, request), "Ann");
  assert.equal(hashKeyOf({ of: "query", name: "users" }, request), null);
  assert.equal(hashKeyOf({ of: "source-address" }, request), "10.0.0.9");
});
