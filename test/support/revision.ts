// test support · this revision with another layout version, built below build/revisions: for tests that take over what another
// revision has left in the kernel.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

const run = (directory: string, command: string, args: readonly string[]): string =>
  execFileSync(command, args, {
    cwd: directory,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    maxBuffer: 1 << 28,
  });

function build(directory: string): void {
  if (!existsSync(join(directory, "node_modules")))
    symlinkSync(join(root, "node_modules"), join(directory, "node_modules"));
  run(directory, "make", ["-s", "-C", "bpf"]);
  run(directory, ".ci/build-native", ["keeper"]);
}

/** Fills and builds a directory under its final name only when all is done; a directory that is there is taken as it is. */
function once(name: string, fill: (directory: string) => void): string {
  const directory = join(root, "build", "revisions", name);
  if (existsSync(directory)) return directory;
  const making = `${directory}.${process.pid}`;
  rmSync(making, { recursive: true, force: true });
  mkdirSync(making, { recursive: true });
  fill(making);
  build(making);
  try {
    renameSync(making, directory);
  } catch (error) {
    if (!existsSync(directory)) throw error;
    rmSync(making, { recursive: true }); // Another test was faster.
  }
  return directory;
}

/** The files of this work tree, with the layout version `abi`; the keeper's addon is built. */
export function buildWithLayout(abi: number): string {
  const files = run(root, "git", ["ls-files", "-z", "agent", "bpf", "native", ".ci", "package.json"])
    .split("\0")
    .filter((file) => file !== "" && existsSync(join(root, file)));
  const hash = createHash("sha256");
  for (const file of files) hash.update(file).update(readFileSync(join(root, file)));
  return once(`layout-${abi}-${hash.digest("hex").slice(0, 12)}`, (directory) => {
    for (const file of files) {
      mkdirSync(dirname(join(directory, file)), { recursive: true });
      cpSync(join(root, file), join(directory, file));
    }
    const header = join(directory, "bpf", "orlop_abi.h");
    const text = readFileSync(header, "utf8").replace(/(#define ORLOP_ABI_VERSION\s+)\d+/, `$1${abi}`);
    writeFileSync(header, text);
    writeFileSync(join(directory, "agent", "abi.ts"), run(directory, process.execPath, ["native/gen-abi.ts"]));
  });
}
