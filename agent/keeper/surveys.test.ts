// surveys.ts: sweeps that are asked for together share one walk, and each is answered by a walk that began after it was asked for.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { Surveys } from "./surveys.ts";

test("what is asked for together shares a walk; what is asked for during a walk has the next", async () => {
  const walks: (readonly number[])[] = [];
  let end: (found: readonly number[]) => void = () => {};
  const surveys = new Surveys((pods) => {
    walks.push(pods.map(({ podIdx }) => podIdx));
    return new Promise((resolve) => (end = resolve));
  }, assert.ifError);
  const ask = (podIdx: number): Promise<boolean> => surveys.isDue({ podIdx, netnsFd: 100 + podIdx });
  const first = [ask(1), ask(2), ask(3)];
  await turn();
  const late = [ask(1), ask(4)];
  await turn();
  assert.deepEqual(walks, [[1, 2, 3]]);
  end([2]);
  assert.deepEqual(await Promise.all(first), [false, true, false]);
  await turn();
  assert.deepEqual(walks, [
    [1, 2, 3],
    [1, 4],
  ]);
  end([1, 4]);
  assert.deepEqual(await Promise.all(late), [true, true]);
  const again = ask(5);
  await turn();
  end([]);
  assert.equal(await again, false);
});

test("a walk that fails spares nobody whom it was for, and nothing of the next", async () => {
  const errors: unknown[] = [];
  let fails = true;
  const surveys = new Surveys(
    async () => {
      if (fails) throw new Error("no memory");
      return [];
    },
    (error) => errors.push(error),
  );
  const pods = [1, 2].map((podIdx) => surveys.isDue({ podIdx, netnsFd: podIdx }));
  assert.deepEqual(await Promise.all(pods), [true, true]);
  assert.deepEqual(errors.map(String), ["Error: no memory"]);
  fails = false;
  assert.equal(await surveys.isDue({ podIdx: 1, netnsFd: 1 }), false);
});
