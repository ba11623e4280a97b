// test peers · the toolchains that the peers are built with: which are here, and what to install where they are not.
import { spawnSync } from "node:child_process";

export type ToolName = "python" | "go" | "cargo" | "maven" | "npm";
type Tool = { readonly argv: readonly string[]; readonly install: string };

/** `argv` must end with status 0; what it prints names the version, which is part of a build's key. */
const tools: Readonly<Record<ToolName, Tool>> = {
  python: {
    argv: ["python3", "-c", "import venv, ensurepip, sys; print(sys.version, sys.base_prefix)"],
    install: "python3-venv",
  },
  go: { argv: ["go", "version"], install: "Go 1.26 or newer" },
  cargo: { argv: ["cargo", "--version"], install: "Rust 1.88 or newer (rustc, cargo)" },
  maven: { argv: ["mvn", "--version"], install: "maven and openjdk-17-jdk-headless" },
  npm: { argv: ["npm", "--version"], install: "npm" },
};
export const toolNames = Object.keys(tools) as readonly ToolName[];

const versions = new Map<ToolName, string | undefined>();

/** What the tool says about itself; undefined where it is not installed. */
export function toolVersion(name: ToolName): string | undefined {
  if (!versions.has(name)) {
    const [program = "", ...args] = tools[name].argv;
    const done = spawnSync(program, args, { encoding: "utf8" });
    versions.set(name, done.status === 0 ? done.stdout.trim() : undefined);
  }
  return versions.get(name);
}

/** One line for an operator: `go is missing: install Go 1.26 or newer`. */
export function missingTools(names: readonly ToolName[]): readonly string[] {
  return names
    .filter((name) => toolVersion(name) === undefined)
    .map((name) => `${name} is missing: install ${tools[name].install}`);
}
