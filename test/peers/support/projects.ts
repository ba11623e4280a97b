// test peers · each peer is an ordinary package project. It is built into a cache outside the checkout, keyed by what it
// is made of, so that a clean clone finds it again.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { missingTools, type ToolName, toolVersion } from "./tools.ts";
import { unreachable } from "./unreachable.ts";

const peers = fileURLToPath(new URL("..", import.meta.url));
export const cacheRoot = path.join(process.env.XDG_CACHE_HOME || path.join(homedir(), ".cache"), "orlop-peers");

/** The file that makes a folder a project, and the tool that builds it. */
const manifests: readonly (readonly [string, ToolName])[] = [
  ["requirements.txt", "python"],
  ["go.mod", "go"],
  ["Cargo.toml", "cargo"],
  ["pom.xml", "maven"],
  ["package.json", "npm"],
];

/** Why a peer cannot be had on this machine, in one line. It is no failure of the peer's cases. */
export class Unavailable extends Error {}

const sourceOf = (name: string): string => path.join(peers, name);

export function toolOf(name: string): ToolName {
  const found = manifests.find(([manifest]) => existsSync(path.join(sourceOf(name), manifest)));
  if (found === undefined) throw new Error(`test/peers/${name} has no ${manifests.map(([file]) => file).join(", ")}`);
  return found[1];
}

/** A Python project is its requirements: its programs run from the checkout. Of the others every source counts. */
function filesOf(name: string, tool: ToolName): readonly string[] {
  if (tool === "python") return ["requirements.txt"];
  return readdirSync(sourceOf(name), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith(".ts"))
    .map((entry) => path.relative(sourceOf(name), path.join(entry.parentPath, entry.name)))
    .toSorted();
}

/** Where the built project lies: there is one folder for each state of its files and version of its tool. */
function folderOf(name: string, tool: ToolName): string {
  const hash = createHash("sha256").update(`${name}\n${toolVersion(tool)}\n`);
  for (const file of filesOf(name, tool)) {
    hash
      .update(`${file}\n`)
      .update(readFileSync(path.join(sourceOf(name), file)))
      .update("\n");
  }
  return path.join(cacheRoot, hash.digest("hex").slice(0, 24));
}

/** The folder of the project, when the cache holds it; nothing is built. */
export function cached(name: string): string | undefined {
  const tool = toolOf(name);
  if (missingTools([tool]).length > 0) return undefined;
  const folder = folderOf(name, tool);
  return existsSync(folder) ? folder : undefined;
}

/** Hears one line before each program of a long build. */
type Report = (line: string) => void;

/**
 * The folder of the built project `test/peers/<name>`; builds it when the cache does not hold it.
 * Throws Unavailable when its tool is not installed or its registry does not answer, and Error when the build fails.
 */
export function built(name: string, report: Report = () => {}): string {
  const tool = toolOf(name);
  const [missing] = missingTools([tool]);
  if (missing !== undefined) throw new Unavailable(missing);
  const folder = folderOf(name, tool);
  if (existsSync(folder)) return folder;
  mkdirSync(cacheRoot, { recursive: true });
  // Two runs may build at once: each into a folder of its own; the first to finish provides it.
  const fresh = `${folder}.${process.pid}`;
  try {
    recipes[tool](sourceOf(name), fresh, report);
    if (existsSync(folder)) rmSync(fresh, { recursive: true });
    else renameSync(fresh, folder);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    throw error;
  }
  return folder;
}

const recipes: Readonly<Record<ToolName, (source: string, to: string, report: Report) => void>> = {
  // Run as `bin/python`: the scripts beside it name the folder in which they were made.
  python: (source, to) => {
    run("python", ["python3", "-m", "venv", to], source);
    const requirements = path.join(source, "requirements.txt");
    run(
      "python",
      [path.join(to, "bin/python"), "-m", "pip", "install", "--quiet", "--no-deps", "-r", requirements],
      source,
    );
  },
  // `bin/` holds the project's own programs and the tools that its go.mod names.
  go: (source, to, report) => {
    const tools = /^tool\b/m.test(readFileSync(path.join(source, "go.mod"), "utf8")) ? ["tool"] : [];
    const { environment, flags } = goSettings(source);
    const programs = goPrograms(source);
    // A link of Kubernetes takes 2.3 GB of memory, so its programs are built one after the other.
    const steps = programs.length > 1 ? programs.map((program) => [`./${program}`]) : [["./...", ...tools]];
    for (const [at, step] of steps.entries()) {
      if (steps.length > 1) report(`building ${step.join(" ")} (${at + 1} of ${steps.length})`);
      run("go", ["go", "install", "-mod=readonly", "-trimpath", ...flags, ...step], source, {
        ...environment,
        GOBIN: path.join(to, "bin"),
      });
    }
  },
  // Dependencies are compiled once for all states of all crates here; `bin/` holds the programs.
  cargo: (source, to) => {
    const target = path.join(cacheRoot, "cargo");
    run("cargo", ["cargo", "install", "--quiet", "--locked", "--no-track", "--path", source, "--root", to], source, {
      CARGO_TARGET_DIR: target,
    });
  },
  // `jars/` holds the project's own classes and all that it depends on.
  maven: (source, to) => {
    const target = path.join(to, "target");
    run(
      "maven",
      ["mvn", "-q", "-B", "-f", source, `-Dtarget=${target}`, `-Djars=${path.join(to, "jars")}`, "package"],
      source,
    );
    rmSync(target, { recursive: true });
  },
  // Programs run from the copy, beside their node_modules.
  npm: (source, to) => {
    cpSync(source, to, { recursive: true });
    run("npm", ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], to);
  },
};

/** Folders of a Go project that are a program each. */
const goPrograms = (source: string): readonly string[] =>
  readdirSync(source).filter((name) => existsSync(path.join(source, name, "main.go")));

type GoSettings = { readonly environment: Readonly<Record<string, string>>; readonly flags: readonly string[] };

/** What a Go project's build.json asks of `go install`. The file is part of the project's key, as all its files are. */
function goSettings(source: string): GoSettings {
  const file = path.join(source, "build.json");
  if (!existsSync(file)) return { environment: {}, flags: [] };
  return JSON.parse(readFileSync(file, "utf8")) as GoSettings;
}

function run(tool: ToolName, argv: readonly string[], cwd: string, env: NodeJS.ProcessEnv = {}): void {
  const [program = "", ...args] = argv;
  const done = spawnSync(program, args, {
    ...{ cwd, encoding: "utf8", maxBuffer: 64 << 20, env: { ...process.env, ...env } },
  });
  if (done.status === 0) return;
  const said = `${done.stdout ?? ""}\n${done.stderr ?? ""}`.trim();
  if (unreachable(said))
    throw new Unavailable(`the registry of ${tool} does not answer: needs a network or a filled cache`);
  throw new Error(
    `${argv.slice(0, 4).join(" ")} ended with ${done.status ?? done.error?.message}\n${said.slice(-4_000)}`,
  );
}
