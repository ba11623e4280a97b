// fuzz · `node test/fuzz/run.ts [seconds] [seed] [target…]`: every input of every corpus again, then so many seconds of new ones
// for each target. Ends with 1 and the input in build/fuzz/found when something is wrong. `.ci/test` runs it for 2 s each.
import { spawnSync } from "node:child_process";
import { createHash, randomInt } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { opinionsOn } from "../http/opinions.ts";
import { MAX_BYTES, mutated, seeded } from "./mutate.ts";
import { targets } from "./targets.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const found = join(root, "build/fuzz/found/");
/** Built by test/fuzz/Makefile. */
const natives = [
  "tunnel",
  "tls",
  "records",
  "packets",
  "cni-call",
  "http1-head",
  "http1-chunk",
  "http1-body",
  "http1-write",
  "http1-exchange",
  "http2-head",
  "http2-session",
];
/** Nothing we read takes long. */
const HANG_MS = 10_000;
/** Inputs kept in memory for having led somewhere new. */
const MOST_KEPT = 2_000;

type Work = {
  readonly target: string;
  readonly seconds: number;
  readonly seed: number;
  readonly current: SharedArrayBuffer;
};

function corpus(target: string): { readonly name: string; readonly bytes: Buffer }[] {
  const folder = join(root, "test/fuzz/corpus", target);
  const names = existsSync(folder) ? readdirSync(folder).sort() : [];
  return names.map((name) => ({ name, bytes: readFileSync(join(folder, name)) }));
}

/** `current`: how many inputs were begun, the length of the one at work, and its bytes. */
async function work({ target, seconds, seed, current }: Work): Promise<void> {
  const judge = targets[target];
  if (judge === undefined) throw new Error(`no target ${target}`);
  const count = new Int32Array(current, 0, 2);
  const bytesNow = new Uint8Array(current, 8);
  const words = new Set<string>();
  const kept: Buffer[] = [];
  const tryOne = async (input: Buffer): Promise<void> => {
    bytesNow.set(input.subarray(0, MAX_BYTES));
    count[1] = input.length;
    Atomics.add(count, 0, 1);
    const word = await judge(input);
    if (words.has(word) || kept.length >= MOST_KEPT) return;
    words.add(word);
    kept.push(input);
  };
  const known = corpus(target);
  for (const { name, bytes } of known) {
    await tryOne(bytes).catch((error: unknown) => {
      throw new Error(`corpus/${target}/${name}`, { cause: error });
    });
  }
  kept.push(...known.map(({ bytes }) => bytes), Buffer.alloc(0));
  const random = seeded(seed);
  const pick = (): Buffer => kept[random(kept.length)] ?? Buffer.alloc(0);
  for (const until = performance.now() + seconds * 1_000; performance.now() < until; ) {
    await tryOne(mutated(pick(), pick(), random));
  }
  parentPort?.postMessage({ words: words.size });
}

function keep(target: string, bytes: Uint8Array, why: string): void {
  mkdirSync(found, { recursive: true });
  const file = join(found, `${target}-${createHash("sha256").update(bytes).digest("hex").slice(0, 12)}`);
  writeFileSync(file, bytes);
  console.error(`${target}: ${why}\n  the input: ${file}; it belongs into test/fuzz/corpus/${target} with the fix`);
}

async function runTarget(target: string, seconds: number, seed: number): Promise<boolean> {
  const current = new SharedArrayBuffer(8 + MAX_BYTES);
  const count = new Int32Array(current, 0, 2);
  const workerData: Work = { target, seconds, seed, current };
  const worker = new Worker(new URL(import.meta.url), { workerData });
  let said = "";
  let wrong = "";
  let seen = -1;
  const watch = setInterval(() => {
    const begun = Atomics.load(count, 0);
    if (begun === seen) {
      wrong = `hangs for ${HANG_MS / 1_000} s`;
      void worker.terminate();
    }
    seen = begun;
  }, HANG_MS);
  worker.on("message", ({ words }: { readonly words: number }) => {
    said = `${words} outcomes`;
    // A server of the target may still be up.
    void worker.terminate();
  });
  worker.on("error", (error) => {
    wrong = error.stack ?? String(error);
    if (error.cause instanceof Error) wrong += `\n${error.cause.stack}`;
  });
  await new Promise((resolve) => worker.once("exit", resolve));
  clearInterval(watch);
  if (said === "" && wrong === "") wrong = "ended without a word";
  if (wrong !== "") keep(target, new Uint8Array(current, 8, Math.min(count[1] ?? 0, MAX_BYTES)).slice(), wrong);
  else console.log(`${target}: ${count[0]} inputs, ${said}`);
  return wrong === "";
}

/** libFuzzer keeps what leads somewhere new in a directory of build/, and starts from it the next time. */
function runNative(name: string, seconds: number, seed: number): boolean {
  const grown = join(root, "build/fuzz/grown", name);
  mkdirSync(grown, { recursive: true });
  mkdirSync(found, { recursive: true });
  const limits = ["-timeout=10", "-rss_limit_mb=2048", "-max_len=4096", `-artifact_prefix=${found}${name}-`];
  const time = seconds > 0 ? [`-max_total_time=${seconds}`, `-seed=${seed}`] : ["-runs=0"];
  const folders = [grown, join(root, "test/fuzz/corpus", name)];
  const done = spawnSync(join(root, "build/fuzz", name), [...limits, ...time, ...folders], {
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  if (done.error) throw new Error("the fuzzers are not built: make -C test/fuzz", { cause: done.error });
  const last = /#(\d+)\s+DONE\s+cov: (\d+)/.exec(done.stderr);
  if (done.status !== 0) {
    console.error(`${name}: status ${done.status}\n${done.stderr.slice(-6_000)}`);
    return false;
  }
  // What led somewhere new is also read by the grammar and by llhttp, where they have a say.
  const files = folders.flatMap((folder) => readdirSync(folder).map((file) => join(folder, file)));
  const others = opinionsOn(name, files, seeded(seed)) ?? [];
  console.log(`${name}: ${last?.[1] ?? "?"} inputs, ${last?.[2] ?? "?"} edges`);
  for (const other of others.slice(0, 10)) console.error(`${name}: ${other}`);
  return others.length === 0;
}

if (isMainThread) {
  const [seconds = "2", given = String(randomInt(1, 2 ** 31)), ...wanted] = process.argv.slice(2);
  const seed = Number(given);
  console.log(`fuzz: ${seconds} s each, seed ${seed} (again: node test/fuzz/run.ts ${seconds} ${seed})`);
  const all = [...natives, ...Object.keys(targets)].filter((target) => wanted.length === 0 || wanted.includes(target));
  for (const target of all) {
    const well = natives.includes(target)
      ? runNative(target, Number(seconds), seed)
      : await runTarget(target, Number(seconds), seed);
    if (!well) process.exitCode = 1;
  }
} else {
  await work(workerData as Work);
}
