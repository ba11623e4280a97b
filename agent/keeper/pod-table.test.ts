// pod-table.ts: an index that a pod gets says nothing of the pod before it, and pods that come together share the walks over the kernel's tables.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { PodTable } from "./pod-table.ts";
import { MAX_PODS } from "./requests.ts";

/** An agent writes about a pod that has left for so long at most. */
const LATE_MS = 10_000;

class World {
  nowMs = 1_000_000;
  clears = 0;
  /** By index, who is meant by what the kernel's tables say. */
  readonly written = new Map<number, string>();
  readonly table: PodTable;
  readonly #lives = new Map<number, string>();
  #pods = 0;

  constructor() {
    const clear = (podIdxs: readonly number[]): void => {
      this.clears += 1;
      for (const podIdx of podIdxs) {
        assert.equal(this.#lives.has(podIdx), false, `${podIdx} is cleared while a pod has it`);
        this.written.delete(podIdx);
      }
    };
    this.table = new PodTable({ read: () => 0, write: () => {} }, clear, () => this.nowMs);
  }

  comes(): void {
    const uid = `p${++this.#pods}`;
    const podIdx = this.table.await(uid)?.row.podIdx;
    if (podIdx === undefined) return;
    assert.equal(this.written.get(podIdx), undefined, `what is said of ${podIdx} is about the pod before`);
    this.#lives.set(podIdx, uid);
    this.written.set(podIdx, uid);
  }

  leaves(at: number): void {
    const all = [...this.#lives];
    const [podIdx, uid] = all[at % all.length] ?? [];
    if (podIdx === undefined || uid === undefined) return;
    this.#lives.delete(podIdx);
    this.table.delete(podIdx);
    this.#late.push({ podIdx, uid, untilMs: this.nowMs + LATE_MS });
  }

  readonly #late: { podIdx: number; uid: string; untilMs: number }[] = [];
  /** An agent that has not heard yet that the pod has left. */
  writesLate(): void {
    for (const { podIdx, uid, untilMs } of this.#late)
      if (this.nowMs <= untilMs && !this.#lives.has(podIdx)) this.written.set(podIdx, uid);
  }
}

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant("comes" as const), by: fc.nat(40) }) },
  { weight: 6, arbitrary: fc.record({ op: fc.constant("leaves" as const), by: fc.nat(40) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant("late" as const), by: fc.constant(0) }) },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constant("waits" as const), by: fc.constantFrom(10, 900, 5_000, 20_000) }),
  },
);

test("an index that a pod gets says nothing of the pod before it, also in a table that is nearly full", () => {
  const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 31));
  console.log(`ORLOP_SEED=${seed}`);
  const property = fc.property(
    fc.array(step, { minLength: 20, maxLength: 80 }),
    fc.integer({ min: 1, max: 60 }),
    (steps, free) => {
      const world = new World();
      for (let pod = 0; pod < MAX_PODS - free; pod += 1) world.comes();
      for (const { op, by } of steps) {
        if (op === "waits") world.nowMs += by;
        else if (op === "late") world.writesLate();
        else for (let pod = 0; pod < by; pod += 1) op === "comes" ? world.comes() : world.leaves(pod * 7 + by);
      }
    },
  );
  fc.assert(property, { seed, numRuns: 150 });
});

test("500 pods that come together share the walks that clear their indices; what has just left is cleared when it is given", () => {
  const world = new World();
  for (let pod = 0; pod < 500; pod += 1) world.comes();
  assert.ok(world.clears <= 16, `${world.clears} walks`);
  world.nowMs += 60_000;
  world.clears = 0;
  world.comes();
  world.comes();
  assert.equal(world.clears, 1, "what was cleared long ago is cleared again");
});

test("an index that cannot be cleared is given to none, and is the next that is given", () => {
  let fails = true;
  const clear = (): void => {
    if (fails) throw new Error("the table fails");
  };
  const table = new PodTable({ read: () => 4, write: () => {} }, clear);
  assert.throws(() => table.await("p1"), /the table fails/);
  assert.deepEqual([table.all(), table.byUid("p1")], [[], undefined]);
  fails = false;
  assert.equal(table.await("p2")?.row.podIdx, 5);
});
