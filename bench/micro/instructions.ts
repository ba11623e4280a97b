#!/usr/bin/env node
// bench · `node bench/micro/instructions.ts [--compare | --write]`: instructions per call of the hot paths, counted by callgrind:
// the same on a busy machine as on an idle machine.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { installed, versionOf } from "../world/programs.ts";
import { type Counted, countsOf, tableOf, worse } from "./instruction-counts.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
const root = path.join(here, "../..");
const out = path.join(root, "build/instructions");
const baselineFile = path.join(here, "instructions.json");

/** V8 without its compilers, and without threads, time or chance; and with so much room that it collects no garbage. */
const v8 = [
  "--jitless",
  "--single-threaded",
  "--predictable",
  "--hash-seed=1",
  "--random-seed=1",
  "--min-semi-space-size=256",
];

/** Builds what is counted: the engine's parts, and the TypeScript as JavaScript, since V8 strips types by compiled code. */
function build(): void {
  mkdirSync(out, { recursive: true });
  execFileSync("make", ["-s", "-C", path.join(here, "native")], { stdio: ["ignore", "ignore", "inherit"] });
  const config = {
    extends: path.join(root, "tsconfig.json"),
    compilerOptions: {
      ...{ noEmit: false, rewriteRelativeImportExtensions: true, outDir: path.join(out, "js"), rootDir: root },
      typeRoots: [path.join(root, "node_modules/@types")],
    },
    ...{ files: [path.join(here, "counted.ts")], include: [] },
  };
  writeFileSync(path.join(out, "tsconfig.json"), JSON.stringify(config));
  execFileSync(path.join(root, "node_modules/.bin/tsc"), ["-p", path.join(out, "tsconfig.json")]);
  writeFileSync(path.join(out, "js/package.json"), '{"type":"module"}');
}

/** Instructions of each stretch between two calls of `mark`, by the name that the program gives it. */
function count(mark: string, argv: readonly string[]): Counted {
  const folder = mkdtempSync(path.join(out, "counts-"));
  try {
    const options = [`--callgrind-out-file=${path.join(folder, "out")}`, `--dump-before=${mark}`];
    const callgrind = ["-q", "--tool=callgrind", ...options, ...argv];
    const said = execFileSync(installed("valgrind"), callgrind, { encoding: "utf8" });
    const dumps = readdirSync(folder)
      .filter((file) => /\.\d+$/.test(file))
      .sort((one, other) => Number(one.split(".").at(-1)) - Number(other.split(".").at(-1)))
      .map((file) => readFileSync(path.join(folder, file), "utf8"));
    return countsOf(said, dumps);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function main(args: readonly string[]): number {
  build();
  const counts: Counted = {
    ...count("orlop_mark", [path.join(out, "frames")]),
    ...count("orlop_mark", [path.join(out, "records")]),
    // Not through the shell script that npm may put in its place.
    ...count("uv_os_getpriority", [process.execPath, ...v8, path.join(out, "js/bench/micro/counted.js")]),
  };
  const versions = {
    node: process.version,
    valgrind: versionOf(installed("valgrind"), ["--version"]),
    compiler: versionOf("g++", ["--version"]),
    openssl: versionOf(installed("openssl"), ["version"]),
  };
  if (args.includes("--write")) {
    writeFileSync(baselineFile, `${JSON.stringify({ versions, counts }, null, 2)}\n`);
  }
  const baseline = JSON.parse(readFileSync(baselineFile, "utf8")) as { versions: object; counts: Counted };
  process.stdout.write(tableOf(counts, baseline.counts));
  if (JSON.stringify(baseline.versions) !== JSON.stringify(versions)) {
    process.stdout.write(`the baseline was counted with other programs: ${JSON.stringify(baseline.versions)}\n`);
  }
  const found = args.includes("--compare") ? worse(counts, baseline.counts) : [];
  for (const text of found) process.stderr.write(`worse: ${text}\n`);
  return found.length > 0 ? 1 : 0;
}

try {
  process.exitCode = main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`instructions: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
