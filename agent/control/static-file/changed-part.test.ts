// The part of a text that changed: a file that is read only there is the file as it is read from its begin, and the edit that the copy on
// disk gets gives the text.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Dice } from "../../../test/support/dice.ts";
import { Lean } from "../../mesh/thread-view.ts";
import { changedPart } from "./changed-part.ts";
import { type KnownFile, type MeshFile, objectsBetween, readingFile } from "./mesh-file.ts";
import { settings, workload } from "./source.fake.ts";
import { editOf } from "./unkept-texts.ts";

const seed = Number(process.env.ORLOP_SEED ?? Math.floor(Math.random() * 2 ** 32));
const RUNS = Number(process.env.ORLOP_RUNS ?? 1_000);

function fileOf(text: string, before?: KnownFile): MeshFile {
  const steps = readingFile({ file: "f.yaml", text, stamp: "", bytes: text.length }, before, {
    settings,
    lean: new Lean(),
  });
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

test(`any edits: what is read of a changed part is what is read of the whole (seed ${seed})`, () => {
  const dice = new Dice(seed);
  const pick = <T>(list: readonly T[]): T => dice.pick(list);
  const odd = ["--- \n", "---\r\n", "---\n---\n", "---x\n", "----\n", "\r---\n", "\u2028---\n", " ---\n"];
  const separator = (): string => (dice.chance(95) ? "---\n" : pick(odd));
  const valid = (): string => workload(`w${dice.roll(9)}`, dice.roll(250), pick(["", "", "  weight: 2\n", "# é\n"]));
  const other = (): string =>
    pick([
      "",
      "\n",
      "# only\n",
      "kind: List\nitems: []\n",
      "kind: Telemetry\n",
      "kind: Nothing\n",
      "a: [\n",
      "a: |\n  text\n",
    ]);
  const piece = (): string => (dice.chance(90) ? valid() : other());
  const whole = (): string =>
    Array.from({ length: dice.roll(6) }, piece).reduce(
      (text, next) => `${text}${separator()}${next}`,
      `${dice.chance(10) ? "\uFEFF" : ""}${piece()}`,
    );
  /** A number is another, a document comes or goes, or anything is something else. */
  const edit = (text: string): string => {
    const documents = text.split("---\n");
    const nth = dice.roll(documents.length);
    const at = dice.roll(text.length + 1);
    switch (dice.roll(6)) {
      case 0:
        return documents.toSpliced(nth, 1, piece()).join("---\n");
      case 1:
        return documents.toSpliced(nth, dice.roll(2), piece()).join("---\n");
      case 2:
        return documents.toSpliced(nth, 1 + dice.roll(2)).join("---\n");
      case 3:
        return (
          text.slice(0, at) +
          pick(["x", "1", "-", "\n", "---", "---\n", "\n---\n", separator()]) +
          text.slice(at + dice.roll(3))
        );
      default:
        return text.slice(0, at) + text.slice(at).replace(/[0-9]/, String(dice.roll(10)));
    }
  };
  let parts = 0;
  let reused = 0;
  for (let run = 0; run < RUNS; run += 1) {
    let text = whole();
    let known = fileOf(text);
    for (let step = 0; step < 4; step += 1) {
      const next = dice.roll(12) === 0 ? whole() : edit(text);
      const part = changedPart(text, next);
      const by = editOf(next, known.digest, part);
      if (by !== undefined) assert.equal(text.slice(0, by.at) + by.put + text.slice(by.at + by.gone), next);
      const anew = fileOf(next);
      // Only what is in force is read on from, and nothing with a problem is.
      if (known.problems.length === 0) {
        const read = fileOf(next, { documents: known.documents, part });
        const what = JSON.stringify({ seed, text, next, part });
        // Reading ends where a document is not to be read, and of such a file no document counts.
        if (anew.problems.length > 0) assert.deepEqual({ ...read, documents: [] }, { ...anew, documents: [] }, what);
        else assert.deepEqual(read, anew, what);
        const { gone, come } = objectsBetween(known, read);
        assert.deepEqual(
          [
            known.documents.objects.filter((one) => !gone.includes(one)).length,
            come.filter((one) => known.documents.objects.includes(one)),
          ],
          [read.documents.objects.length - come.length, []],
        );
        reused += read.documents.objects.length - come.length;
        parts += 1;
        known = read;
      } else known = anew;
      text = next;
    }
  }
  assert.ok(parts > RUNS && reused > RUNS, `${parts} parts, ${reused} objects`);
});

test("a document among a hundred: nothing else is read, and the copy on disk gets nothing else", () => {
  const text = Array.from({ length: 100 }, (_, nth) => workload(`w${nth}`, nth)).join("---\n");
  const next = text.replace("[10.0.0.57]", "[10.0.1.157]");
  const known = fileOf(text);
  const part = changedPart(text, next);
  assert.equal(next.slice(part.begin, part.end), `---\n${workload("w57", 57).replace("[10.0.0.57]", "[10.0.1.157]")}`);
  const read = fileOf(next, { documents: known.documents, part });
  const { gone, come } = objectsBetween(known, read);
  assert.deepEqual([gone.length, come.length], [1, 1]);
  assert.equal(read.documents.lines, known.documents.lines);
});
