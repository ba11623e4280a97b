// Build time · the agent as JavaScript, as programs run it. Node can run TypeScript, but then each thread loads a type stripper, which is
// WebAssembly: 20 MB of resident memory, and V8 has ended processes whose threads did so at the same time (nodejs/node#64500). A compile
// cache spares that only on processors with the features of the processor that has filled it, and takes memory itself.
//   node .ci/strip.js TO [fakes]      TO is laid out as the image is: TO/agent has what lies below agent/, but for tests, and for fakes
//                                     unless they are wanted. Lines and columns stay as they are.
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const from = join(root, "agent");
/** What `make build` makes, and programs of a checkout run. */
const program = join(root, "build/program");
/** What the agent looks for beside itself. */
const beside = ["package.json", "docs", "native", "build/orlop-cni"];

/** What a module imports, and what a thread is started from. */
const named = /(["'])(\.{1,2}\/[^"'\n]+)\.ts\1/g;

/** @param {boolean} fakes @returns {string[]} paths below agent/ */
const sources = (fakes) =>
  readdirSync(from, { recursive: true, encoding: "utf8" }).filter(
    (file) => file.endsWith(".ts") && !file.endsWith(".test.ts") && (fakes || !file.endsWith(".fake.ts")),
  );

/** @param {string} to @param {string} file @returns {string} */
const targetOf = (to, file) => join(to, "agent", file.replace(/\.ts$/, ".js"));

/** A program is as old as its source, to the millisecond. @param {string} file @returns {number | undefined} */
const timeOf = (file) => {
  const ms = statSync(file, { throwIfNoEntry: false })?.mtimeMs;
  return ms === undefined ? undefined : Math.floor(ms + 0.01);
};

/** Files are replaced each in a step: a program that runs finds its modules at any time. @param {string} to @param {boolean} fakes */
function strip(to, fakes) {
  const kept = new Set();
  for (const file of sources(fakes)) {
    const source = join(from, file);
    // The time comes first: who edits the file meanwhile makes it newer than what is read.
    const ms = timeOf(source) ?? 0;
    const target = targetOf(to, file);
    const making = `${target}.${process.pid}`;
    mkdirSync(dirname(target), { recursive: true });
    const text = stripTypeScriptTypes(readFileSync(source, "utf8"), { mode: "strip" });
    writeFileSync(making, text.replace(named, "$1$2.js$1"));
    chmodSync(making, statSync(source).mode & 0o777);
    utimesSync(making, new Date(ms), new Date(ms));
    renameSync(making, target);
    kept.add(relative(to, target));
  }
  for (const file of readdirSync(join(to, "agent"), { recursive: true, encoding: "utf8" })) {
    const path = join("agent", file);
    if (path.endsWith(".js") && !kept.has(path)) rmSync(join(to, path), { force: true });
  }
  for (const path of beside) {
    const link = join(to, path);
    mkdirSync(dirname(link), { recursive: true });
    const making = `${link}.${process.pid}`;
    symlinkSync(relative(dirname(link), join(root, path)), making);
    renameSync(making, link);
  }
}

/** The first file of agent/ that says something else than its program may. @returns {string | undefined} */
const staleFile = () => sources(false).find((file) => timeOf(targetOf(program, file)) !== timeOf(join(from, file)));

/**
 * What a checkout runs as `orlop`: never older than agent/. What has been edited since `make` is stripped first, by a process of its own,
 * because the stripper stays in memory.
 * @returns {string} the path of main.js
 */
export function upToDateProgram() {
  const stale = staleFile();
  if (stale !== undefined) {
    const argv = ["--no-warnings", fileURLToPath(import.meta.url), program];
    const done = spawnSync(process.execPath, argv, { encoding: "utf8", stdio: ["ignore", "ignore", "pipe"] });
    if (done.status !== 0)
      throw new Error(`agent/${stale} was edited since make, and cannot be made a program: run make\n${done.stderr}`);
  }
  return join(program, "agent/main.js");
}

if (import.meta.main) {
  const [, , to = "", which] = process.argv;
  if (to === "" || (which !== undefined && which !== "fakes")) throw new Error("usage: node .ci/strip.js TO [fakes]");
  strip(to, which === "fakes");
}
