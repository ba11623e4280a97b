// The file as a source, live: swaps, damage and mending, restarts with a bad file (failures.md G2, G3).
import assert from "node:assert/strict";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { MeshUpdate } from "../../mesh/mesh-update.ts";
import type { Place } from "../kinds/place.ts";
import { placeText } from "../kinds/value.ts";
import type { SourceStatus } from "../source.ts";
import { StaticFileSource } from "./source.ts";

const place: Place = {
  node: "west",
  cluster: "c1",
  network: "",
  trustDomain: "cluster.local",
  clusterDomain: "cluster.local",
  rootNamespace: "istio-system",
  honourIstioLabels: false,
};
const workload = (name: string, host: number, more = ""): string => `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: ${name}, namespace: shop}
spec:
  addresses: [10.0.0.${host}]
  node: east
${more}`;

type Running = {
  readonly folder: string;
  readonly path: string;
  readonly lastGoodFile: string;
  readonly source: StaticFileSource;
  readonly batches: (readonly MeshUpdate[])[];
  readonly warnings: string[];
  readonly stop: () => Promise<void>;
  /** Resolves when the status fulfils the condition; the test's own time limit ends a wait in vain. */
  readonly until: (condition: (status: SourceStatus) => boolean) => Promise<SourceStatus>;
};

const DEADLINE = { timeout: 30_000 };

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "orlop-source-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function run(
  t: TestContext,
  folder: string,
  options: { readonly path?: string; readonly pollMs?: number; readonly wallMs?: () => number } = {},
): Running {
  const path = options.path ?? join(folder, "mesh.yaml");
  const lastGoodFile = join(folder, "run", "last-good.json");
  mkdirSync(join(folder, "run"), { recursive: true });
  const batches: (readonly MeshUpdate[])[] = [];
  const warnings: string[] = [];
  const waiting = new Set<() => void>();
  const source = new StaticFileSource(
    // Polling is out of the way unless a test is about it.
    { path, lastGoodFile, place, debounceMs: 5, pollMs: options.pollMs ?? 3_600_000 },
    {
      wallMs: options.wallMs ?? Date.now,
      warn: (message) => void warnings.push(message),
      changed: () => {
        for (const check of waiting) check();
      },
    },
  );
  const abort = new AbortController();
  const running = source.run((updates) => void batches.push(updates), abort.signal);
  const stop = async (): Promise<void> => {
    abort.abort();
    await running;
  };
  t.after(stop);
  const until: Running["until"] = (condition) =>
    new Promise((resolve) => {
      const check = (): void => {
        const status = source.status();
        if (!condition(status)) return;
        waiting.delete(check);
        resolve(status);
      };
      waiting.add(check);
      check();
    });
  return { folder, path, lastGoodFile, source, batches, warnings, stop, until };
}

/** As editors do: whole under another name, then renamed. */
function swap(path: string, text: string): void {
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
}

const names = (batch: readonly MeshUpdate[] | undefined): string[] =>
  (batch ?? []).map((one) => (one.op === "remove" ? `-${one.key}` : `+${one.value.name}`));

test("read at the start, then each swap as the difference it makes", DEADLINE, async (t) => {
  const folder = folderOf(t);
  writeFileSync(join(folder, "mesh.yaml"), `${workload("a", 1)}---\n${workload("b", 2)}`);
  const { until, batches, path } = run(t, folder);
  const first = await until((status) => status.state === "synced");
  assert.equal(first.objects, 2);
  assert.deepEqual(names(batches[0]), ["+a", "+b"]);
  swap(path, `${workload("a", 1)}---\n${workload("c", 2)}`);
  await until(() => batches.length === 2);
  assert.deepEqual(names(batches[1]), ["-c1//Pod/shop/b", "+c"]);
  swap(path, workload("a", 1, "  healthy: false\n"));
  await until(() => batches.length === 3);
  assert.deepEqual(names(batches[2]), ["-c1//Pod/shop/c", "+a"]);
});

test(
  "a bad file changes nothing, is shown with its place until mended, and mending it applies at once",
  DEADLINE,
  async (t) => {
    const folder = folderOf(t);
    const good = workload("a", 1);
    writeFileSync(join(folder, "mesh.yaml"), good);
    const { until, batches, path } = run(t, folder);
    const before = await until((status) => status.state === "synced");
    for (const bad of [
      "kind: [",
      good.replace("node:", "nodes:"),
      good.replace("10.0.0.1", "10.0.0.1/33"),
      "",
      `${good}---\n${good}`,
      "\u0000",
    ]) {
      swap(path, bad);
      const status = await until((one) => one.state === "rejected");
      assert.ok(status.problems.length > 0);
      assert.match(placeText(status.problems[0]?.from ?? { file: "", line: 0, column: 0 }), /mesh\.yaml:\d+:\d+$/);
      assert.equal(status.appliedAt, before.appliedAt);
      swap(path, good);
      const mended = await until((one) => one.state === "synced" && one.objects === 1);
      assert.deepEqual(mended.problems, []);
      assert.equal(batches.length, 1, "nothing was emitted");
    }
  },
);

test("a file that vanishes changes nothing; when it is back it counts", DEADLINE, async (t) => {
  const folder = folderOf(t);
  writeFileSync(join(folder, "mesh.yaml"), workload("a", 1));
  const { until, batches, path } = run(t, folder);
  await until((status) => status.state === "synced");
  rmSync(path);
  const gone = await until((status) => status.state === "rejected");
  assert.equal(gone.problems[0]?.code, "ORL4107");
  assert.equal(batches.length, 1);
  writeFileSync(path, workload("a", 1));
  await until((status) => status.state === "synced");
  assert.equal(batches.length, 1, "it says what it said before");
});

test("a mounted ConfigMap: the link beside the file is swapped, the file itself never touched", DEADLINE, async (t) => {
  const folder = folderOf(t);
  for (const [version, name] of [
    ["..1", "a"],
    ["..2", "b"],
  ] as const) {
    mkdirSync(join(folder, version));
    writeFileSync(join(folder, version, "mesh.yaml"), workload(name, 1));
  }
  symlinkSync("..1", join(folder, "..data"));
  symlinkSync("..data/mesh.yaml", join(folder, "mesh.yaml"));
  const { until, batches } = run(t, folder);
  await until((status) => status.state === "synced");
  symlinkSync("..2", join(folder, "..data_tmp"));
  renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
  await until(() => batches.length === 2);
  assert.deepEqual(names(batches[1]), ["-c1//Pod/shop/a", "+b"]);
});

test("where nobody is told of changes, they are found by looking", DEADLINE, async (t) => {
  const folder = folderOf(t);
  for (const name of ["a", "b"]) {
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, "mesh.yaml"), workload(name, 1));
  }
  // The watch follows the link to the old directory and never hears of the new one.
  symlinkSync("a", join(folder, "current"));
  const { until, batches } = run(t, folder, { path: join(folder, "current", "mesh.yaml"), pollMs: 20 });
  await until((status) => status.state === "synced");
  symlinkSync("b", join(folder, "next"));
  renameSync(join(folder, "next"), join(folder, "current"));
  await until(() => batches.length === 2);
  assert.deepEqual(names(batches[1]), ["-c1//Pod/shop/a", "+b"]);
});

test("a directory is all its YAML files, and one bad file refuses the whole", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const path = join(folder, "mesh.d");
  mkdirSync(path);
  writeFileSync(join(path, "1.yaml"), workload("a", 1));
  writeFileSync(join(path, "2.yml"), workload("b", 2));
  writeFileSync(join(path, ".hidden.yaml"), "kind: [");
  writeFileSync(join(path, "README"), "kind: [");
  const { until, batches } = run(t, folder, { path });
  await until((status) => status.state === "synced");
  assert.deepEqual(names(batches[0]), ["+a", "+b"]);
  writeFileSync(join(path, "3.yaml"), "kind: [");
  const status = await until((one) => one.state === "rejected");
  assert.match(status.problems[0]?.from.file ?? "", /3\.yaml$/);
  rmSync(join(path, "3.yaml"));
  await until((one) => one.state === "synced");
});

test(
  "a bad file at the start: nothing is assumed; with a last good copy, that runs and the status says so",
  DEADLINE,
  async (t) => {
    const folder = folderOf(t);
    const path = join(folder, "mesh.yaml");
    writeFileSync(path, "kind: [");
    const alone = run(t, folder);
    const rejected = await alone.until((status) => status.state === "rejected");
    assert.deepEqual([rejected.fromLastGood, rejected.appliedAt, alone.batches], [false, "", []]);
    swap(path, workload("a", 1));
    const accepted = await alone.until((status) => status.state === "synced");
    await alone.stop();

    writeFileSync(path, "kind: [");
    const again = run(t, folder);
    const saved = await again.until((status) => status.fromLastGood);
    assert.equal(saved.state, "rejected");
    assert.equal(saved.appliedAt, accepted.appliedAt);
    assert.ok(saved.problems.length > 0, "what is wrong with the file stays on show");
    assert.deepEqual(names(again.batches[0]), ["+a"]);
    swap(path, workload("b", 1));
    const mended = await again.until((status) => status.state === "synced");
    assert.equal(mended.fromLastGood, false);
    assert.deepEqual(names(again.batches[1]), ["-c1//Pod/shop/a", "+b"]);
  },
);

test("the copy is private, written whole, and a damaged or foreign one counts for nothing", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const path = join(folder, "mesh.yaml");
  writeFileSync(path, workload("a", 1));
  const first = run(t, folder);
  await first.until((status) => status.state === "synced");
  await first.stop();
  assert.equal(statSync(first.lastGoodFile).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(join(folder, "run")), ["last-good.json"]);
  const copy = readFileSync(first.lastGoodFile, "utf8");
  writeFileSync(path, "kind: [");
  for (const damaged of [
    "",
    "{",
    "[]",
    copy.slice(0, -9),
    copy.replace('"version":1', '"version":2'),
    copy.replace("10.0.0.1", "10.0.0.999"),
  ]) {
    writeFileSync(first.lastGoodFile, damaged);
    const next = run(t, folder);
    const status = await next.until((one) => one.state === "rejected");
    await next.stop();
    assert.equal(status.fromLastGood, false);
    assert.deepEqual(next.batches, []);
  }
});

test("a run directory that cannot be written to costs a warning, not the configuration", DEADLINE, async (t) => {
  const folder = folderOf(t);
  writeFileSync(join(folder, "mesh.yaml"), workload("a", 1));
  mkdirSync(join(folder, "run"), { recursive: true });
  mkdirSync(join(folder, "run", "last-good.json"));
  chmodSync(join(folder, "run"), 0o500);
  const { until, warnings, stop } = run(t, folder);
  await until((status) => status.state === "synced");
  await stop();
  assert.match(warnings.join(), /could not be kept/);
});

test("text that is not UTF-8 is refused, not repaired", DEADLINE, async (t) => {
  const folder = folderOf(t);
  writeFileSync(join(folder, "mesh.yaml"), Buffer.concat([Buffer.from("# "), Buffer.from([0xff, 0xfe, 0x0a])]));
  const { until } = run(t, folder);
  const status = await until((one) => one.state === "rejected");
  assert.match(status.problems[0]?.what ?? "", /UTF-8/);
});

test("a file that was written to a moment ago is left to its writer", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const path = join(folder, "mesh.yaml");
  writeFileSync(path, `${workload("a", 1)}---\n${workload("b", 2)}`);
  // The clock stands still right after the writing: however often the source looks, it is too early.
  const written = statSync(path).mtimeMs;
  let now = written + 1;
  let looks = 0;
  const wallMs = (): number => {
    looks++;
    return now;
  };
  const { until, batches } = run(t, folder, { wallMs });
  while (looks < 5) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual(batches, []);
  now = written + 1_000;
  await until((status) => status.state === "synced");
  assert.deepEqual(names(batches[0]), ["+a", "+b"]);
});
