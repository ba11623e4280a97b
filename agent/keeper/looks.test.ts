// looks.ts: no look is lost, no two run at a time, and a sweep that fails stays owed.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { inTurns, OwedSweeps } from "./looks.ts";

test("asked during a look, however often, another look follows; a look that throws ends nothing", async () => {
  const errors: unknown[] = [];
  let [running, most, looks] = [0, 0, 0];
  let end: () => void = () => {};
  const ask = inTurns(
    async () => {
      looks += 1;
      most = Math.max(most, ++running);
      await new Promise<void>((resolve) => (end = resolve));
      running -= 1;
      if (looks === 2) throw new Error("once");
    },
    (error) => errors.push(error),
  );
  ask();
  ask();
  ask();
  assert.equal(looks, 1);
  end();
  await turn();
  assert.equal(looks, 2);
  end();
  await turn();
  assert.deepEqual([looks, most, String(errors)], [2, 1, "Error: once"]);
  ask();
  assert.equal(looks, 3);
  end();
});

test("one pod that cannot be swept holds no other up, and is tried again until it was", async () => {
  const owed = new OwedSweeps();
  const swept: number[] = [];
  let fails = true;
  const sever = async (podIdx: number): Promise<void> => {
    if (podIdx === 2 && fails) throw new Error("a dying namespace");
    swept.push(podIdx);
  };
  owed.owe([1, 2, 3]);
  await assert.rejects(owed.pay(sever), /1 pods could not be swept: Error: a dying namespace/);
  assert.deepEqual(swept, [1, 3]);
  fails = false;
  await owed.pay(sever);
  await owed.pay(sever);
  assert.deepEqual(swept, [1, 3, 2]);
});
