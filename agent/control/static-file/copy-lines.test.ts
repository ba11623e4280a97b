// The copy on disk, change by change: a line behind the index has what has changed, and nothing else is written.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { Dice } from "../../../test/support/dice.ts";
import { until as waitUntil } from "../../../test/support/until.ts";
import { lastGoodIndex, loadLastGood } from "../last-good.ts";
import { DEADLINE, folderOf, manyFiles, run, strict, swap, workload } from "./source.fake.ts";

/** The copy was begun: from here on each change is a line. */
async function begun(lastGoodFile: string, files: number): Promise<void> {
  await waitUntil(async () => (await lastGoodIndex(lastGoodFile))?.files.length === files);
  // What the index names is on the disk by then, and nothing else is written.
  await waitUntil(() => readdirSync(lastGoodFile.replace(/\.json$/, "")).length === files);
}

test("a change writes as many bytes among 500 files as among three, and no other file", DEADLINE, async (t) => {
  const written: number[][] = [];
  for (const count of [3, 500]) {
    const path = join(folderOf(t), "mesh.d");
    mkdirSync(path);
    for (let nth = 1; nth <= count; nth++) {
      const address = `10.${1 + (nth >> 8)}.0.${nth & 255}`;
      writeFileSync(join(path, `${nth}.yaml`), workload(`a${nth}`, 0).replace("10.0.0.0", address));
    }
    const { lastGoodFile, batches, stop } = run(t, join(path, ".."), { path });
    await begun(lastGoodFile, count);
    const texts = lastGoodFile.replace(/\.json$/, "");
    const [index, before] = [statSync(lastGoodFile), readdirSync(texts)];
    const sizes: number[] = [];
    // A change waits for its line a second at most, so that on a busy disk a line may have two: each line is waited for here. The first
    // change is not counted, since the first copy may still be on its way.
    for (let change = 1; change <= 21; change++) {
      swap(join(path, "2.yaml"), workload("a2", 100 + change));
      const isKept = (): boolean => readFileSync(lastGoodFile, "utf8").includes(`[10.0.0.${100 + change}]`);
      await waitUntil(() => batches.length > change && isKept(), { seen: () => [change, batches.length] });
      sizes.push(statSync(lastGoodFile).size);
    }
    await stop();
    assert.equal(statSync(lastGoodFile).ino, index.ino, "the index is the same file");
    assert.deepEqual(readdirSync(texts), before);
    const folderBytes = Buffer.byteLength(path);
    written.push(sizes.slice(1).map((size, at) => size - (sizes[at] ?? 0) - folderBytes));
  }
  assert.deepEqual(written[1], written[0]);
});

test(
  "a line that was being written when the process ended does not count; damage before it does",
  DEADLINE,
  async (t) => {
    const folder = folderOf(t);
    const path = join(folder, "mesh.yaml");
    writeFileSync(path, workload("a", 1));
    const first = run(t, folder);
    await begun(first.lastGoodFile, 1);
    const [one, two] = [workload("a", 2), `${workload("a", 3)}---\n${strict}`];
    for (const [at, text] of [one, two].entries()) {
      swap(path, text);
      await first.until(() => first.batches.length >= at + 2);
    }
    await first.stop();
    const whole = readFileSync(first.lastGoodFile, "utf8");
    const textIn = async (copy: string): Promise<string | undefined> => {
      writeFileSync(first.lastGoodFile, copy);
      return (await loadLastGood(first.lastGoodFile))?.files.map(({ text }) => text).join();
    };
    assert.equal(await textIn(whole), two);
    const lastLine = whole.lastIndexOf("\n");
    for (let cut = lastLine; cut < whole.length; cut++)
      assert.equal(await textIn(whole.slice(0, cut)), one, `cut at ${cut}`);
    const [index = "", line = "", last = ""] = whole.split("\n");
    for (const damaged of [
      [index, line.slice(0, -3), last],
      [index, "", last],
      [index, line.replace("10.0.0.2", "10.0.0.9").replace(/"file":"[^"]*"/, '"file":"other.yaml"'), last],
      [index, line, last.replace("10.0.0.3", "10.0.0.4")],
      [index, line, last.replace('"gone":[]', '"gone":[1]')],
      [index, line, last.replace('"gone":[]', '"gone":{}')],
      [index, line, "[]"],
      [index.slice(0, -1), line, last],
    ])
      assert.equal(await textIn(damaged.join("\n")), undefined, damaged.join("\n"));
  },
);

test(
  "lines beyond a megabyte become an index again, also of files whose texts have gone meanwhile",
  DEADLINE,
  async (t) => {
    const folder = folderOf(t);
    const path = join(folder, "mesh.d");
    mkdirSync(path);
    const filler = `# ${"x".repeat(100_000)}\n`;
    writeFileSync(join(path, "a.yaml"), workload("a", 1));
    writeFileSync(join(path, "b.yaml"), workload("b", 2));
    const { lastGoodFile, batches, until, stop } = run(t, folder, { path });
    await begun(lastGoodFile, 2);
    swap(join(path, "b.yaml"), workload("b", 3));
    await until(() => batches.length >= 2);
    // What is written there by now is not in force.
    writeFileSync(join(path, "b.yaml"), "kind: [");
    await until(({ state }) => state === "rejected");
    rmSync(join(path, "b.yaml"));
    swap(join(path, "b.yaml"), workload("b", 3));
    await until(({ state }) => state === "synced");
    const { ino } = statSync(lastGoodFile);
    for (let host = 10; host < 30; host++) {
      const before = batches.length;
      swap(join(path, "a.yaml"), `${workload("a", host)}${filler}`);
      await until(() => batches.length > before);
      assert.ok(statSync(lastGoodFile).size < 1_200_000);
      assert.match(
        (await loadLastGood(lastGoodFile))?.files.find(({ file }) => file.endsWith("a.yaml"))?.text ?? "",
        new RegExp(`10\\.0\\.0\\.${host}\\b`),
      );
    }
    assert.notEqual(statSync(lastGoodFile).ino, ino);
    await stop();
  },
);

test("an edit of a text that the copy does not have for the file is no copy", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const path = join(folder, "mesh.yaml");
  const beside = `---\n${workload("b", 9)}---\n${workload("c", 10)}`;
  writeFileSync(path, workload("a", 1) + beside);
  const { lastGoodFile, batches, until, stop } = run(t, folder);
  await begun(lastGoodFile, 1);
  for (let host = 2; host < 6; host++) {
    swap(path, workload("a", host) + beside);
    await until(() => batches.length >= host);
  }
  await stop();
  const lines = readFileSync(lastGoodFile, "utf8").split("\n");
  assert.deepEqual(
    lines.map((line) => line.includes('"edit":')),
    [false, false, true, true, true],
  );
  assert.equal((await loadLastGood(lastGoodFile))?.files[0]?.text, workload("a", 5) + beside);
  for (const [nth, damaged] of [
    lines.toSpliced(3, 1),
    lines.toSpliced(1, 1),
    lines.with(3, (lines[3] ?? "").replace(/"at":\d+/, '"at":3')),
    lines.with(3, (lines[3] ?? "").replace(/"gone":\d+/, '"gone":-1')),
    lines.with(4, (lines[4] ?? "").replace("10.0.0.5", "10.0.0.6")),
  ].entries()) {
    writeFileSync(lastGoodFile, damaged.join("\n"));
    assert.equal(await loadLastGood(lastGoodFile), undefined, `damage ${nth}`);
  }
});

test("a copy that somebody replaced, removed or wrote to is written anew with the next change", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const path = join(folder, "mesh.yaml");
  writeFileSync(path, workload("a", 1));
  const { lastGoodFile, batches, until } = run(t, folder);
  await begun(lastGoodFile, 1);
  const content = readFileSync(lastGoodFile, "utf8");
  let host = 2;
  for (const meddle of [
    () => rmSync(lastGoodFile),
    () => swap(lastGoodFile, content),
    () => writeFileSync(lastGoodFile, `${readFileSync(lastGoodFile, "utf8")}\n{`),
    () => writeFileSync(lastGoodFile, ""),
  ]) {
    meddle();
    const before = batches.length;
    swap(path, workload("a", ++host));
    await until(() => batches.length > before);
    assert.equal((await loadLastGood(lastGoodFile))?.files[0]?.text, workload("a", host), String(meddle));
  }
});

test(
  "random changes of random files: at each moment the copy has what is in force, also after a start",
  DEADLINE,
  async (t) => {
    const seed = Number(process.env.ORLOP_SEED ?? Math.floor(Math.random() * 2 ** 32));
    const dice = new Dice(seed);
    t.diagnostic(`seed ${seed}`);
    const path = manyFiles(t, 4);
    const folder = join(path, "..");
    const texts = new Map(readdirSync(path).map((name) => [name, readFileSync(join(path, name), "utf8")]));
    let source = run(t, folder, { path, stillMs: 5 });
    await begun(source.lastGoodFile, 4);
    let compared = 0;
    let edited = 0;
    for (let step = 0; step < 150; step++) {
      const before = source.batches.length;
      const name = `${dice.roll(6) + 1}.yaml`;
      const kind = dice.roll(10);
      if (kind === 0 && existsSync(source.lastGoodFile)) {
        await source.stop();
        source = run(t, folder, { path, stillMs: 5 });
        await source.until(({ state }) => state === "synced");
      } else if (kind === 1 && existsSync(source.lastGoodFile)) rmSync(source.lastGoodFile);
      else if (kind < 4 && texts.size > 1 && texts.has(name)) {
        texts.delete(name);
        rmSync(join(path, name));
        await source.until(() => source.batches.length > before);
      } else {
        const one = name.charAt(0);
        // Beside a document that stays the line has an edit, else the text.
        const stays = dice.chance(60) ? texts.get(name)?.split("---\n")[1] : undefined;
        const filler =
          stays ?? workload(`f${one}`, 0, `# ${"x".repeat(dice.roll(40_000))}\n`).replace("10.0.0.0", `10.${one}.2.1`);
        const text = `${workload(`w${one}`, 0).replace("10.0.0.0", `10.${one}.1.${step}`)}---\n${filler}`;
        texts.set(name, text);
        swap(join(path, name), text);
        await source.until(() => source.batches.length > before);
      }
      const kept = await loadLastGood(source.lastGoodFile);
      if (kept === undefined) continue;
      compared += 1;
      if (readFileSync(source.lastGoodFile, "utf8").includes('"edit":')) edited += 1;
      const found = new Map(kept.files.map(({ file, text }) => [basename(file), text]));
      assert.deepEqual(new Map([...found].sort()), new Map([...texts].sort()), `step ${step}, seed ${seed}`);
    }
    assert.ok(compared > 50 && edited > 4, `${compared} of 150, ${edited} with edits, seed ${seed}`);
  },
);
