// The copy on disk: whole or not at all, whatever ends the process, the machine or the disk in the middle.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Dice } from "../../../test/support/dice.ts";
import { ClusterCopy } from "./copy.ts";
import { type PackedChange, packed, readClusterCopy } from "./copy-file.ts";

const SEED = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 31));
const CLUSTER = "0d9a3a1c-0000-4000-8000-000000000001";
const never = new AbortController().signal;

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "orlop-copy-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function copyAt(t: TestContext, path: string) {
  const warnings: string[] = [];
  const copy = new ClusterCopy(path, (message) => warnings.push(message));
  t.after(() => copy.close());
  return { copy, warnings };
}

function present(name: string, version: number, text = "ü"): PackedChange {
  const object = { metadata: { name, labels: { version: String(version), text } } };
  const resource = { kind: "Pod", namespace: "shop", name, resourceVersion: String(version) };
  return packed({ op: "present", apiVersion: "v1", version: resource, uid: `uid-${name}`, object });
}
const deleted = (name: string): PackedChange =>
  packed({ op: "deleted", object: { kind: "Pod", namespace: "shop", name } });

type State = ReadonlyMap<string, PackedChange>;
function after(state: State, changes: readonly PackedChange[]): State {
  const next = new Map(state);
  for (const change of changes) {
    if (change.isPresent) next.set(change.key, change);
    else next.delete(change.key);
  }
  return next;
}
/** What a process finds that does not go on with the file. */
async function found(path: string) {
  const kept = await readClusterCopy(path, never);
  await kept?.file?.handle.close();
  return kept;
}
const textOf = (objects: Iterable<PackedChange>): string =>
  [...objects]
    .map(({ line }) => line)
    .sort()
    .join("");

test("what was kept is found by the next process, in a file for this user alone", async (t) => {
  const path = join(folderOf(t), "state", "cluster.jsonl");
  assert.equal(await found(path), undefined);
  const { copy, warnings } = copyAt(t, path);
  await copy.keep(CLUSTER, [present("a", 1), present("b", 2)], "2026-01-01T00:00:00.000Z");
  await copy.keep(CLUSTER, [present("a", 3), deleted("b"), present("c", 4)], "2026-01-01T00:00:01.000Z");
  const kept = await found(path);
  assert.deepEqual([kept?.cluster, kept?.appliedAt], [CLUSTER, "2026-01-01T00:00:01.000Z"]);
  assert.equal(textOf(kept?.objects ?? []), textOf([present("a", 3), present("c", 4)]));
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual([readdirSync(join(path, "..")), warnings], [["cluster.jsonl"], []]);
});

test("changes that wait for a slow disk are kept, whatever becomes of the list that brought them", async (t) => {
  const path = join(folderOf(t), "cluster.jsonl");
  const { copy } = copyAt(t, path);
  const first = copy.keep(CLUSTER, [present("a", 1)], "2026-01-01T00:00:00.000Z");
  // The source empties its list as it applies it, after a second also when the write before has not ended.
  const changes = [present("b", 2)];
  const second = copy.keep(CLUSTER, changes, "2026-01-01T00:00:01.000Z");
  changes.length = 0;
  await Promise.all([first, second]);
  const kept = await found(path);
  assert.equal(textOf(kept?.objects ?? []), textOf([present("a", 1), present("b", 2)]));
});

test(`cut off or changed anywhere, a file is one of its states or none (ORLOP_SEED=${SEED})`, async (t) => {
  const dice = new Dice(SEED);
  const path = join(folderOf(t), "cluster.jsonl");
  const { copy } = copyAt(t, path);
  let state: State = new Map();
  const states: string[] = [];
  const sizes: number[] = [];
  for (let batch = 0; batch < 6; batch++) {
    const changes = Array.from({ length: 1 + dice.roll(4) }, (_, at): PackedChange => {
      const name = `p${dice.roll(5)}`;
      return batch > 0 && dice.chance(30) ? deleted(name) : present(name, batch * 10 + at, "ascii");
    });
    await copy.keep(CLUSTER, changes, `2026-01-01T00:00:0${batch}.000Z`);
    state = after(state, changes);
    states.push(textOf(state.values()));
    sizes.push(statSync(path).size);
  }
  const whole = readFileSync(path);
  const damaged = `${path}.damaged`;
  const read = async (bytes: Buffer): Promise<string | undefined> => {
    writeFileSync(damaged, bytes);
    const kept = await readClusterCopy(damaged, never);
    if (kept?.file !== undefined && dice.chance(70)) await kept.file.handle.close();
    else if (kept?.file !== undefined) {
      // A process that goes on with this file keeps what it has found in it, and what comes after it.
      adopted += 1;
      const next = copyAt(t, damaged).copy;
      next.adopt(kept.file);
      await next.keep(CLUSTER, [present("new", 99), deleted("p1")], "2026-01-01T00:01:00.000Z");
      const found = after(new Map(kept.objects.map((object) => [object.key, object])), [
        present("new", 99),
        deleted("p1"),
      ]);
      const again = await readClusterCopy(damaged, never);
      assert.equal(textOf(again?.objects ?? []), textOf(found.values()), `seed ${SEED}`);
      await again?.file?.handle.close();
      await next.close();
    }
    return kept && textOf(kept.objects);
  };
  let adopted = 0;
  for (let length = 0; length <= whole.length; length += 1 + dice.roll(12)) {
    const wanted = states[sizes.filter((size) => size <= length).length - 1];
    for (const tail of ["", "\0\0\0\0", '{"half', '{"op":"present"}\n'])
      assert.equal(
        await read(Buffer.concat([whole.subarray(0, length), Buffer.from(tail)])),
        wanted,
        `at ${length}${tail}`,
      );
  }
  for (let round = 0; round < 200; round++) {
    const bytes = Buffer.from(whole);
    const at = dice.roll(bytes.length);
    bytes[at] = dice.roll(256);
    // A line end more is no other content, and moves all that is behind it.
    const isMoved = dice.chance(30);
    const found = await read(
      isMoved ? Buffer.concat([whole.subarray(0, at), Buffer.from("\n"), whole.subarray(at)]) : bytes,
    );
    const last = states.at(-1);
    // What was changed before the last batch is never taken for an older state: it may lack a policy.
    const allowed = at < (sizes.at(-2) ?? 0) ? [undefined, last] : [undefined, last, states.at(-2)];
    assert.ok(allowed.includes(found), `seed ${SEED}: byte ${at}`);
  }
  t.diagnostic(`${adopted} files adopted`);
  assert.ok(adopted > 10, `${adopted} files could be gone on with`);
});

test("a file that has grown is written anew, and has the same objects", async (t) => {
  const path = join(folderOf(t), "cluster.jsonl");
  const { copy } = copyAt(t, path);
  const names = Array.from({ length: 30 }, (_, at) => `p${at}`);
  let state: State = after(
    new Map(),
    names.map((name) => present(name, 1)),
  );
  await copy.keep(CLUSTER, [...state.values()], "2026-01-01T00:00:00.000Z");
  const inodes = new Set<number>();
  for (let version = 2; version < 40; version++) {
    const name = `p${version % 20}`;
    const changes = version % 7 === 0 ? [deleted(name)] : [present(name, version, "x".repeat(100_000))];
    await copy.keep(CLUSTER, changes, "2026-01-01T00:00:01.000Z");
    state = after(state, changes);
    inodes.add(statSync(path).ino);
    assert.equal(textOf((await found(path))?.objects ?? []), textOf(state.values()));
  }
  assert.ok(inodes.size > 1, "it was written anew");
});

test("two agents of a node keep the same path: what the later writer has is there, whole", async (t) => {
  const path = join(folderOf(t), "cluster.jsonl");
  const [old, next] = [copyAt(t, path).copy, copyAt(t, path).copy];
  await old.keep(CLUSTER, [present("a", 1)], "2026-01-01T00:00:00.000Z");
  await next.keep(CLUSTER, [present("a", 1), present("b", 2)], "2026-01-01T00:00:01.000Z");
  await old.keep(CLUSTER, [present("b", 2)], "2026-01-01T00:00:02.000Z");
  assert.equal(textOf((await found(path))?.objects ?? []), textOf([present("a", 1), present("b", 2)]));
  old.stop();
  await next.keep(CLUSTER, [present("c", 3)], "2026-01-01T00:00:03.000Z");
  await old.keep(CLUSTER, [deleted("a")], "2026-01-01T00:00:04.000Z");
  const all = [present("a", 1), present("b", 2), present("c", 3)];
  assert.equal(textOf((await found(path))?.objects ?? []), textOf(all));
});

test("what cannot be kept leaves no older state behind, and is there once it can", async (t) => {
  const folder = folderOf(t);
  const path = join(folder, "state", "cluster.jsonl");
  const { copy, warnings } = copyAt(t, path);
  await copy.keep(CLUSTER, [present("a", 1)], "2026-01-01T00:00:00.000Z");
  // A directory in the place of the draft: nothing can be written anew.
  const draft = join(folder, "state", `.cluster-copy.${process.pid}.tmp`);
  mkdirSync(draft);
  rmSync(path);
  writeFileSync(path, "another agent's");
  await copy.keep(CLUSTER, [present("b", 2)], "2026-01-01T00:00:01.000Z");
  assert.equal(existsSync(path), false);
  await copy.keep(CLUSTER, [present("c", 3)], "2026-01-01T00:00:02.000Z");
  assert.equal(warnings.filter((warning) => warning.includes("cannot be kept")).length, 1);
  rmSync(draft, { recursive: true, force: true });
  await copy.keep(CLUSTER, [deleted("c")], "2026-01-01T00:00:03.000Z");
  assert.equal(textOf((await found(path))?.objects ?? []), textOf([present("a", 1), present("b", 2)]));
});
