// The waits of Backoff: between half the ceiling and the ceiling, doubling, capped, and undone by a success.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Backoff } from "./backoff.ts";

test("every wait lies between half the ceiling and the ceiling", () => {
  const seed = Date.now();
  console.log(`seed ${seed}`);
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1000 }),
      fc.integer({ min: 1000, max: 60_000 }),
      fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { minLength: 1, maxLength: 60 }),
      (baseMs, capMs, draws) => {
        let draw = 0;
        const backoff = new Backoff({ baseMs, capMs }, () => draws[draw++] ?? 0);
        draws.forEach((_, failures) => {
          const ceiling = Math.min(capMs, baseMs * 2 ** failures);
          const waited = backoff.nextMs();
          assert.ok(waited >= ceiling / 2 && waited <= ceiling, `${waited} of ${ceiling}`);
        });
      },
    ),
    { seed },
  );
});

test("a success starts anew; an abort ends the wait", async () => {
  const backoff = new Backoff({ baseMs: 10, capMs: 1000 }, () => 0);
  assert.deepEqual([backoff.nextMs(), backoff.nextMs(), backoff.nextMs()], [5, 10, 20]);
  backoff.reset();
  assert.equal(backoff.failures, 0);
  assert.equal(backoff.nextMs(), 5);
  await assert.rejects(backoff.wait(AbortSignal.abort()), { name: "AbortError" });
});
