// Two agents of a node, while the next takes over: what the next puts in force is what the agent before it had in force last, whatever
// either held back and whatever the files say by then (docs/threat-model.md).
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { Dice } from "../../../test/policy/dice.ts";
import type { MeshUpdate } from "../../mesh/mesh-update.ts";
import { DEADLINE, folderOf, names, run, strict, swap, workload } from "./source.fake.ts";

const permissive = strict.replace("name: all", "name: part").replace("STRICT", "PERMISSIVE");

test(
  "a draft that the agent before this one accepted counts, also when the file is broken by then",
  DEADLINE,
  async (t) => {
    const folder = folderOf(t);
    const path = join(folder, "mesh.yaml");
    writeFileSync(path, `${workload("a", 1)}---\n${strict}---\n${permissive}`);
    const former = run(t, folder, { stillMs: 100 });
    await former.until(({ state }) => state === "synced");
    while (!existsSync(former.lastGoodFile)) await delay(1);
    const next = run(t, folder, { waits: true });
    await next.until(({ state }) => state === "synced");
    writeFileSync(path, `${workload("a", 1)}---\n${permissive}`);
    await next.until(({ state }) => state === "held");
    await former.until(({ state, objects }) => state === "synced" && objects === 2);
    writeFileSync(path, "kind: [");
    await next.until(({ state }) => state === "rejected");
    assert.equal(next.batches.length, 1);
    await next.source.hold();
    assert.deepEqual(names(next.batches[1]), ["-shop/all", "+part"]);
    const status = next.source.status();
    assert.deepEqual([status.state, status.fromLastGood, status.objects], ["rejected", true, 2]);
    // The mended file counts, and the status says so.
    swap(path, `${workload("a", 1)}---\n${permissive}`);
    await next.until(({ state, fromLastGood }) => state === "synced" && !fromLastGood);
  },
);

test("an agent that holds the node already does not go back to an older copy of its own", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const path = join(folder, "mesh.yaml");
  writeFileSync(path, workload("a", 1));
  const holder = run(t, folder);
  await holder.until(({ state }) => state === "synced");
  while (!existsSync(holder.lastGoodFile)) await delay(1);
  const folderOfTexts = join(folder, "run", "last-good");
  const [text = ""] = readdirSync(folderOfTexts).map((name) => join(folderOfTexts, name));
  const older = [holder.lastGoodFile, text].map((file) => ({ file, content: readFileSync(file, "utf8") }));
  swap(path, workload("a", 2));
  await holder.until(() => holder.batches.length === 2);
  // As when the disk is slow: what was accepted last is not written yet.
  while (existsSync(text)) await delay(1);
  for (const { file, content } of older) writeFileSync(file, content.replace('"acceptedAt":"2', '"acceptedAt":"1'));
  await holder.source.hold();
  assert.equal(holder.batches.length, 2);
});

test("with nothing in force nobody waits, and without a copy nothing changes", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const path = join(folder, "mesh.yaml");
  writeFileSync(path, "kind: [");
  const alone = run(t, folder);
  await alone.source.hold();
  await alone.until(({ state }) => state === "rejected");
  await alone.source.hold();
  swap(path, workload("a", 1));
  await alone.until(({ state }) => state === "synced");
  rmSync(alone.lastGoodFile, { force: true });
  await alone.source.hold();
  await alone.source.yield();
  assert.deepEqual(alone.batches.map(names), [["+a"]]);
  await alone.stop();
  await alone.source.hold();
});

test(
  "random files, agents that take over from each other: the next begins with what was in force",
  DEADLINE,
  async (t) => {
    const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
    t.diagnostic(`seed ${seed}`);
    const dice = new Dice(seed);
    const folder = folderOf(t);
    const path = join(folder, "mesh.yaml");
    const write = (): void => {
      const parts = [
        workload("a", dice.roll(3) + 1),
        dice.roll(2) === 0 ? strict : "",
        dice.roll(2) === 0 ? permissive : "",
      ];
      const text = parts.filter((part) => part !== "").join("---\n");
      if (dice.roll(2) === 0) swap(path, text);
      else writeFileSync(path, dice.roll(4) === 0 ? "kind: [" : text);
    };
    const start = (waits: boolean) => run(t, folder, { waits, stillMs: dice.roll(2) === 0 ? 15 : 3_600_000 });
    writeFileSync(path, `${workload("a", 1)}---\n${strict}`);
    let former = start(false);
    await former.until(({ state }) => state === "synced");
    let handovers = 0;
    let lost = 0;
    for (let turn = 0; turn < 60; turn++) {
      const next = start(true);
      const { length: began } = former.batches;
      for (let steps = dice.roll(5); steps > 0; steps--) {
        write();
        await delay(dice.roll(30));
      }
      // Not ready: the file is broken, and the copy of the former agent's first mesh failed, since the file had changed by then.
      const ready = await Promise.race([next.until(() => next.batches.length > 0), delay(200)]);
      if (ready === undefined) {
        await next.stop();
        continue;
      }
      handovers += 1;
      const { length } = former.batches;
      await former.source.yield();
      await next.source.hold();
      // A batch that the former agent had kept already, and put in force a moment later, counts as well.
      const may = [length, length + 1].map((end) => inForce(former.batches.slice(0, end)));
      const now = inForce(next.batches);
      // Where the former agent accepted nothing meanwhile, the next may be ahead of it. What could not be kept, nobody can take over: the
      // first mesh of an agent is kept a moment after it counts, and its file may say something else by then.
      if (former.warnings.length > 0) lost += 1;
      assert.ok(
        may.includes(now) || former.batches.length === began || former.warnings.length > 0,
        `turn ${turn} of seed ${seed}: ${now}\nis none of\n${may.join("\nand\n")}; ${former.warnings}`,
      );
      await former.stop();
      former = next;
    }
    t.diagnostic(`${handovers} of 60 agents took over, ${lost} from an agent that could not keep something`);
    assert.ok(handovers - lost > 20);
  },
);

/** The objects that a mesh has after these batches. */
function inForce(batches: readonly (readonly MeshUpdate[])[]): string {
  const objects = new Map<string, string>();
  for (const update of batches.flat()) {
    if (update.op === "remove") objects.delete(`${update.kind} ${update.key}`);
    else if (update.kind === "workload") objects.set(`workload ${update.value.uid}`, `${update.value.addresses}`);
    else objects.set(`${update.kind} ${update.value.namespace}/${update.value.name}`, "");
  }
  return JSON.stringify([...objects].sort(([a], [b]) => (a < b ? -1 : 1)));
}
