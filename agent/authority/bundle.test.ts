// The roots that are published, over random changes of what the Secret names; and the rate limit.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { nextBundle, type PublishedRoot, timesText, waitFor, withTimes } from "./bundle.ts";
import { RateLimit } from "./rate-limit.ts";

const SPREAD = 300_000;
const KEEP = 86_400_000;
const root = (name: string) => ({ pem: `pem of ${name}`, fingerprint: name });

test("a new root is published before it signs, and an old root stays until its certificates have ended", () => {
  const first = nextBundle([], [root("a")], 0, KEEP, true);
  assert.equal(waitFor(first, "a", 0, SPREAD), 0);
  const both = nextBundle(first, [root("b")], 1_000_000, KEEP, true);
  assert.deepEqual(
    both.map(({ fingerprint }) => fingerprint),
    ["b", "a"],
  );
  assert.equal(waitFor(both, "b", 1_000_000, SPREAD), SPREAD);
  assert.equal(waitFor(both, "a", 1_000_000, SPREAD), 0);
  assert.equal(waitFor(both, "b", 1_000_000 + SPREAD, SPREAD), 0);
  assert.equal(nextBundle(both, [root("b")], 1_000_000 + KEEP - 1, KEEP, true).length, 2);
  assert.deepEqual(
    nextBundle(both, [root("b")], 1_000_000 + KEEP, KEEP, true).map(({ fingerprint }) => fingerprint),
    ["b"],
  );
  // It came back in time: it is as it was.
  assert.deepEqual(nextBundle(both, [root("b"), root("a")], 2_000_000, KEEP, true).at(-1), first[0]);
});

test("times that lie ahead count from now on, and the first root stays the first", () => {
  const ahead = nextBundle(nextBundle([], [root("a")], 1e9, KEEP, true), [root("b")], 2e9, KEEP, true);
  for (const published of [ahead, nextBundle(ahead, [root("b")], 1_000, KEEP, true)].map((each) =>
    nextBundle(each, [root("b"), root("a")], 1_000, KEEP, true),
  )) {
    assert.equal(waitFor(published, "a", 1_000, SPREAD), 0);
    assert.equal(waitFor(published, "b", 1_000, SPREAD), SPREAD);
    const later = nextBundle(published, [root("b")], 1_000 + SPREAD, KEEP, true);
    assert.equal(waitFor(later, "b", 1_000 + SPREAD, SPREAD), 0);
    const gone = nextBundle(nextBundle(ahead, [root("b")], 3e9, KEEP, true), [root("b")], 1_000, KEEP, true);
    assert.deepEqual(
      nextBundle(gone, [root("b")], 1_000 + KEEP, KEEP, true).map(({ fingerprint }) => fingerprint),
      ["b"],
      "a root that left ahead of time is not kept longer",
    );
  }
});

test("over any history: what is named is published, what signs was published long enough or first, what is gone was gone long enough", () => {
  const names = ["a", "b", "c", "d"];
  const steps = fc.array(fc.tuple(fc.subarray(names, { minLength: 1 }), fc.nat({ max: KEEP })), {
    minLength: 1,
    maxLength: 20,
  });
  fc.assert(
    fc.property(steps, (history) => {
      let now = 0;
      let published: readonly PublishedRoot[] = [];
      const since = new Map<string, number>();
      const lastNamed = new Map<string, number>();
      for (const [named, passes] of history) {
        now += passes;
        const before = published;
        published = nextBundle(before, named.map(root), now, KEEP, true);
        const present = new Set(published.map(({ fingerprint }) => fingerprint));
        for (const name of named) assert.ok(present.has(name));
        for (const { fingerprint } of before) {
          if (present.has(fingerprint)) continue;
          since.delete(fingerprint);
          assert.ok(now - (lastNamed.get(fingerprint) ?? now) >= KEEP, fingerprint);
        }
        for (const name of present) if (!since.has(name)) since.set(name, now);
        const oldest = Math.min(...since.values());
        for (const name of named) {
          lastNamed.set(name, now);
          const isOldEnough = now - (since.get(name) ?? now) >= SPREAD || since.get(name) === oldest;
          assert.equal(waitFor(published, name, now, SPREAD) === 0, isOldEnough, name);
        }
        assert.deepEqual(withTimes(published, timesText(published)), published);
      }
    }),
  );
});

test("a root of which nobody knows what was there before it waits, also when its times are read again", () => {
  const published = nextBundle([], [root("a")], 1_000, KEEP, false);
  const again = withTimes([root("a")], timesText(published));
  assert.deepEqual(again, published);
  for (const roots of [published, again, nextBundle(again, [root("a")], 2_000, KEEP, false)]) {
    assert.equal(waitFor(roots, "a", 1_000, SPREAD), SPREAD);
    assert.equal(waitFor(roots, "a", 1_000 + SPREAD, SPREAD), 0);
  }
});

test("a root without times, or with times that are none, is nobody's", () => {
  for (const text of [
    "",
    "null",
    "[]",
    "{",
    "7",
    '{"a":null}',
    '{"a":{"published":"soon"}}',
    '{"__proto__":{"published":"2026-01-01"}}',
  ])
    assert.deepEqual(withTimes([root("a"), root("__proto__")].slice(0, 1), text), [], text);
  assert.equal(waitFor([], "a", 0, SPREAD), Number.POSITIVE_INFINITY);
});

test("a rate limit lets a burst through, then so many per second, each name for itself, and remembers few names", () => {
  const limit = new RateLimit({ perSecond: 2, burst: 3, names: 5 });
  const taken = (name: string, now: number): number => [1, 2, 3, 4, 5].filter(() => limit.take(name, now)).length;
  assert.deepEqual([taken("a", 0), taken("a", 0), taken("b", 0)], [3, 0, 3]);
  assert.deepEqual([taken("a", 500), taken("a", 1_000), taken("a", 60_000)], [1, 1, 3]);
  for (let name = 0; name < 100; name++) limit.take(`n${name}`, 60_000);
  assert.equal(limit.size, 5);
});
