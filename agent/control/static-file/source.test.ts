// The file as a source, live: swaps, damage and mending, restarts with a bad file (docs/reference/failures.md, G2 and G3).
import assert from "node:assert/strict";
import { hash } from "node:crypto";
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { MeshUpdate } from "../../mesh/mesh-update.ts";
import { lineText, nowhere, positionText } from "../../mesh/source-ref.ts";
import type { NodeSettings } from "../kinds/node-settings.ts";
import type { SourceStatus } from "../source.ts";
import { StaticFileSource } from "./source.ts";

const settings: NodeSettings = {
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
  options: {
    readonly path?: string;
    readonly pollMs?: number;
    readonly stillMs?: number;
    readonly wallMs?: () => number;
    readonly emitted?: () => void;
  } = {},
): Running {
  const path = options.path ?? join(folder, "mesh.yaml");
  const lastGoodFile = join(folder, "run", "last-good.json");
  mkdirSync(join(folder, "run"), { recursive: true });
  const batches: (readonly MeshUpdate[])[] = [];
  const warnings: string[] = [];
  const waiting = new Set<() => void>();
  const source = new StaticFileSource(
    // Polling is out of the way unless a test is about it, and so is what counts by being still.
    {
      path,
      lastGoodFile,
      settings,
      debounceMs: 5,
      stillMs: options.stillMs ?? 3_600_000,
      pollMs: options.pollMs ?? 3_600_000,
    },
    {
      wallMs: options.wallMs ?? Date.now,
      warn: (message) => void warnings.push(message),
      changed: () => {
        for (const check of waiting) check();
      },
    },
  );
  const abort = new AbortController();
  const running = source.run((updates) => {
    batches.push(updates);
    options.emitted?.();
  }, abort.signal);
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
  "a bad file changes nothing, is shown with its position until mended, and mending it applies at once",
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
      assert.match(positionText(status.problems[0]?.from ?? nowhere), /mesh\.yaml:\d+:\d+$/);
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
  // The watch follows the link to the old directory and never hears of the new directory.
  symlinkSync("a", join(folder, "current"));
  const { until, batches } = run(t, folder, {
    path: join(folder, "current", "mesh.yaml"),
    pollMs: 20,
    stillMs: 50,
  });
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
  assert.match(lineText(status.problems[0]?.from ?? nowhere), /3\.yaml:\d+$/);
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
  const [text = "", ...more] = readdirSync(join(folder, "run", "last-good"));
  assert.deepEqual([readdirSync(join(folder, "run")), more], [["last-good", "last-good.json"], []]);
  const textFile = join(folder, "run", "last-good", text);
  for (const file of [first.lastGoodFile, textFile]) assert.equal(statSync(file).mode & 0o777, 0o600);
  const [index, good] = [first.lastGoodFile, textFile].map((file) => readFileSync(file, "utf8")) as [string, string];
  writeFileSync(path, "kind: [");
  for (const [damagedIndex, damagedText] of [
    ["", good],
    ["{", good],
    ["[]", good],
    [index.slice(0, -9), good],
    [index.replace('"version":2', '"version":1'), good],
    [index.replace(/"digest":"../, '"digest":"..'), good],
    [index, good.replace("10.0.0.1", "10.0.0.2")],
    [index, ""],
  ] as const) {
    writeFileSync(first.lastGoodFile, damagedIndex);
    writeFileSync(textFile, damagedText);
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

/** `count` files of two workloads each, `1.yaml` and so on. */
function manyFiles(t: TestContext, count: number): string {
  const path = join(folderOf(t), "mesh.d");
  mkdirSync(path);
  for (let nth = 1; nth <= count; nth++)
    writeFileSync(join(path, `${nth}.yaml`), `${workload(`a${nth}`, nth)}---\n${workload(`b${nth}`, 100 + nth)}`);
  return path;
}

test(
  "of a directory only what changed is read again, and what comes out is its difference alone",
  DEADLINE,
  async (t) => {
    const path = manyFiles(t, 20);
    const { until, batches } = run(t, join(path, ".."), { path, stillMs: 50 });
    await until((status) => status.objects === 40);
    swap(join(path, "7.yaml"), `${workload("a7", 7)}---\n${workload("b7", 107, "  healthy: false\n")}`);
    await until(() => batches.length === 2);
    assert.deepEqual(names(batches[1]), ["+b7"]);
    rmSync(join(path, "8.yaml"));
    await until(() => batches.length === 3);
    assert.deepEqual(names(batches[2]), ["-c1//Pod/shop/a8", "-c1//Pod/shop/b8"]);
    // Both files change; neither state of one with the other's former is ever seen.
    writeFileSync(join(path, "9.yaml.new"), workload("a9", 9));
    swap(join(path, "10.yaml"), `${workload("a10", 10)}---\n${workload("b9", 109)}---\n${workload("b10", 110)}`);
    const refused = await until((status) => status.state === "rejected");
    assert.match(refused.problems[0]?.what ?? "", /Workload shop\/b9 stands here and at .*10\.yaml:/);
    assert.equal(batches.length, 3);
    renameSync(join(path, "9.yaml.new"), join(path, "9.yaml"));
    await until((status) => status.state === "synced");
    assert.deepEqual(names(batches[3]).sort(), ["+b10", "+b9"]);
  },
);

test("a bad file among many holds back what changes meanwhile, until it is mended or gone", DEADLINE, async (t) => {
  const path = manyFiles(t, 5);
  const { until, batches } = run(t, join(path, ".."), { path });
  await until((status) => status.objects === 10);
  swap(join(path, "2.yaml"), "kind: [");
  await until((status) => status.state === "rejected");
  swap(join(path, "3.yaml"), workload("a3", 3));
  swap(join(path, "4.yaml"), "");
  const both = await until((status) => status.problems.some(({ from }) => lineText(from).includes("4.yaml")));
  assert.match(lineText(both.problems[0]?.from ?? nowhere), /2\.yaml:\d+$/);
  assert.deepEqual([both.objects, batches.length], [10, 1]);
  swap(join(path, "2.yaml"), workload("a2", 2));
  swap(join(path, "4.yaml"), workload("a4", 4));
  const mended = await until((status) => status.state === "synced");
  assert.equal(mended.objects, 7);
  assert.deepEqual(names(batches[1]), ["-c1//Pod/shop/b2", "-c1//Pod/shop/b3", "-c1//Pod/shop/b4"]);
});

test("what only adds counts at once; it is not read while somebody writes", DEADLINE, async (t) => {
  const path = manyFiles(t, 2);
  // The clock does not move: for files that are written in place it is always too early.
  let now = Date.now() + 3_600_000;
  const { until, batches } = run(t, join(path, ".."), { path, wallMs: () => now });
  await until((status) => status.objects === 4);
  writeFileSync(join(path, "3.yaml"), workload("a3", 3));
  now = statSync(join(path, "3.yaml")).mtimeMs + 1;
  for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(batches.length, 1);
  now += 3_600_000;
  await until((status) => status.objects === 5);
  assert.deepEqual(names(batches[1]), ["+a3"]);
});

const strict = `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: all, namespace: shop}
spec: {mtls: {mode: STRICT}}
`;

test(
  "a writer in place that pauses: what its half lacks stays in force, is named meanwhile, and is never gone",
  DEADLINE,
  async (t) => {
    const folder = folderOf(t);
    const { until, batches, path } = run(t, folder, { path: join(folder, "mesh.yaml") });
    swap(path, `${workload("a", 1)}---\n${strict}`);
    await until((status) => status.state === "synced");
    const writer = openSync(path, "w");
    writeSync(writer, workload("a", 1));
    const held = await until((status) => status.state === "held");
    assert.deepEqual(
      held.problems.map(({ code, what }) => `${code} ${what}`),
      ["ORL4108 PeerAuthentication shop/all is gone"],
    );
    assert.equal(held.objects, 2);
    writeSync(writer, `---\n${strict}---\n${workload("b", 2)}`);
    closeSync(writer);
    const whole = await until((status) => status.state === "synced");
    assert.deepEqual([whole.objects, whole.problems], [3, []]);
    assert.deepEqual(batches.slice(1).map(names), [["+b"]]);
  },
);

test("a file that ends within a line is not whole, whatever it says", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const { until, batches, path } = run(t, folder);
  swap(path, workload("a", 1));
  await until((status) => status.state === "synced");
  const more = workload("b", 2, "  serviceAccount: api-reader\n");
  writeFileSync(path, `${workload("a", 1)}---\n${more.slice(0, -"-reader\n".length)}`);
  const held = await until((status) => status.state === "held");
  assert.match(held.problems.map(({ what }) => what).join(), /last line/);
  writeFileSync(path, `${workload("a", 1)}---\n${more}`);
  await until((status) => status.state === "synced");
  assert.deepEqual(batches.slice(1).map(names), [["+b"]]);
});

test("what was written in place and takes protection away counts when it has been still", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const states: string[] = [];
  const { until, batches, path, source } = run(t, folder, { stillMs: 100 });
  swap(path, `${workload("a", 1)}---\n${strict}`);
  await until((status) => status.state === "synced");
  writeFileSync(path, workload("a", 1));
  await until(({ state }) => {
    states.push(state);
    return state === "synced" && source.status().objects === 1;
  });
  assert.ok(states.includes("held"), states.join());
  assert.deepEqual(batches.slice(1).map(names), [["-shop/all"]]);
  // Written back in time, it is as if nothing had been.
  writeFileSync(path, `${workload("a", 1)}---\n${strict}`);
  await until((status) => status.objects === 2);
  const { appliedAt } = source.status();
  writeFileSync(path, workload("a", 1));
  await until((status) => status.state === "held");
  writeFileSync(path, `${workload("a", 1)}---\n${strict}`);
  const back = await until((status) => status.state === "synced");
  assert.deepEqual([back.appliedAt, back.objects], [appliedAt, 2]);
});

test(
  "what is moved into place counts at once, from another directory too, until it is written to",
  DEADLINE,
  async (t) => {
    const path = manyFiles(t, 3);
    const { until, batches } = run(t, join(path, ".."), { path });
    await until((status) => status.objects === 6);
    swap(join(path, "1.yaml"), workload("a1", 1));
    await until((status) => status.objects === 5);
    const elsewhere = join(path, "..", "2.yaml");
    writeFileSync(elsewhere, workload("a2", 2));
    // The times of a file have the grain of the kernel's tick.
    while (Date.now() - statSync(elsewhere).mtimeMs < 20) await new Promise((resolve) => setTimeout(resolve, 5));
    renameSync(elsewhere, join(path, "2.yaml"));
    await until((status) => status.objects === 4);
    assert.deepEqual(names(batches[2]), ["-c1//Pod/shop/b2"]);
    // Between going and coming of a file that is replaced in two steps nothing is taken for gone.
    rmSync(join(path, "3.yaml"));
    const gone = await until((status) => status.state === "held");
    assert.equal(gone.problems.length, 2);
    writeFileSync(join(path, "3.yaml"), workload("a3", 3));
    const half = await until((status) => status.problems.length === 1);
    assert.deepEqual([half.state, half.problems[0]?.what], ["held", "Workload shop/b3 is gone"]);
    swap(join(path, "3.yaml"), workload("a3", 3));
    await until((status) => status.objects === 3);
  },
);

test(
  "half a file at the start is held against the last good copy; where there is none, it is the mesh",
  DEADLINE,
  async (t) => {
    const folder = folderOf(t);
    const path = join(folder, "mesh.yaml");
    writeFileSync(path, `${workload("a", 1)}---\n${strict}`);
    const first = run(t, folder);
    await first.until((status) => status.state === "synced");
    await first.stop();
    writeFileSync(path, workload("a", 1));
    const again = run(t, folder);
    const held = await again.until((status) => status.state === "held" && status.problems.length > 0);
    assert.deepEqual([held.fromLastGood, held.objects, names(again.batches[0])], [true, 2, ["+a", "+all"]]);
    await again.stop();
    const still = run(t, folder, { stillMs: 50 });
    await still.until((status) => status.state === "synced");
    assert.deepEqual(still.batches.map(names), [["+a", "+all"], ["-shop/all"]]);
    await still.stop();
    // What only adds counts at once after a start, too, and another path is another mesh.
    writeFileSync(path, `${workload("a", 1)}---\n${workload("b", 2)}`);
    const more = run(t, folder);
    await more.until((status) => status.state === "synced");
    assert.deepEqual(more.batches.map(names), [["+a", "+b"]]);
    await more.stop();
    writeFileSync(join(folder, "other.yaml"), workload("c", 3));
    const moved = run(t, folder, { path: join(folder, "other.yaml") });
    await moved.until((status) => status.state === "synced");
    assert.deepEqual(moved.batches.map(names), [["+c"]]);
  },
);

test("what is in force after the first mesh is kept already, so that no start finds less", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const kept: (string | undefined)[] = [];
  const seen = (): void => {
    const index = existsSync(join(folder, "run", "last-good.json"))
      ? (JSON.parse(readFileSync(join(folder, "run", "last-good.json"), "utf8")) as {
          readonly files: readonly { readonly digest: string }[];
        })
      : undefined;
    kept.push(index?.files[0]?.digest);
  };
  writeFileSync(join(folder, "mesh.yaml"), workload("a", 1));
  const { until, batches, path, lastGoodFile } = run(t, folder, { emitted: seen });
  await until((status) => status.state === "synced");
  while (!existsSync(lastGoodFile)) await new Promise((resolve) => setTimeout(resolve, 5));
  const wanted: string[] = [];
  for (let host = 2; host < 12; host++) {
    const text = `${workload("a", host)}---\n${strict}`;
    wanted.push(hash("sha256", text, "hex"));
    swap(path, text);
    await until(() => batches.length === host);
  }
  assert.deepEqual(kept.slice(1), wanted);
});

test("a copy that cannot be renewed is not kept: it may lack what protects a pod by now", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const { until, path, lastGoodFile, warnings, stop } = run(t, folder);
  swap(path, workload("a", 1));
  await until((status) => status.state === "synced");
  while (!existsSync(lastGoodFile)) await new Promise((resolve) => setTimeout(resolve, 5));
  rmSync(join(folder, "run", "last-good"), { recursive: true });
  writeFileSync(join(folder, "run", "last-good"), "");
  swap(path, `${workload("a", 1)}---\n${strict}`);
  await until((status) => status.objects === 2);
  await stop();
  assert.match(warnings.join(), /could not be kept/);
  assert.ok(!existsSync(lastGoodFile));
});

test("the copy has what was taken over, whatever the file says a moment later", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const { until, path, lastGoodFile, batches, stop } = run(t, folder);
  for (let host = 1; host <= 20; host++) {
    swap(path, `${workload("a", host)}---\n${strict}`);
    await until(() => batches.length === host);
  }
  writeFileSync(path, "kind: [");
  await until((status) => status.state === "rejected");
  await stop();
  const again = run(t, folder);
  await again.until((status) => status.fromLastGood);
  assert.deepEqual(readdirSync(join(folder, "run", "last-good")).length, 1);
  assert.match(
    readFileSync(join(folder, "run", "last-good", readdirSync(join(folder, "run", "last-good"))[0] ?? ""), "utf8"),
    /10\.0\.0\.20/,
  );
  assert.ok(existsSync(lastGoodFile));
});

test("a mounted ConfigMap of many files is swapped as one", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const path = join(folder, "mesh.d");
  mkdirSync(path);
  for (const [version, second] of [
    ["..1", 2],
    ["..2", 12],
  ] as const) {
    mkdirSync(join(path, version));
    writeFileSync(join(path, version, "1.yaml"), workload("a", second));
    writeFileSync(join(path, version, "2.yaml"), workload("b", second + 1));
    writeFileSync(join(path, version, "3.yaml"), workload("c", 99));
  }
  symlinkSync("..1", join(path, "..data"));
  for (const name of ["1.yaml", "2.yaml", "3.yaml"]) symlinkSync(`..data/${name}`, join(path, name));
  const { until, batches } = run(t, folder, { path });
  await until((status) => status.objects === 3);
  symlinkSync("..2", join(path, "..data_tmp"));
  renameSync(join(path, "..data_tmp"), join(path, "..data"));
  await until(() => batches.length === 2);
  assert.deepEqual(names(batches[1]), ["+a", "+b"]);
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
  // The clock does not move right after the writing: however often the source looks, it is too early.
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
