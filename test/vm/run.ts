// test vm · boots Debian's cloud kernel with cgroup v2 alone in an emulator, runs guest.ts in it, and ends as that ended.
//   node test/vm/run.ts
// Ends with 0: everything passed; 1: something failed, or the time ran out; 2: Debian's packages do not answer.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { Unavailable } from "../peers/support/projects.ts";
import { writeArchive } from "./archive.ts";
import { contents } from "./contents.ts";
import { type Machine, machine } from "./packages.ts";

/** Of the machine, from power on. */
const LIMIT_MS = 480_000;
const MEMORY = "1536";
const started = performance.now();
const seconds = (): string => `${((performance.now() - started) / 1_000).toFixed(1)} s`;

/** Node wants more than the oldest processor. Emulated, not virtual: a machine of a cloud may have no hardware for guests. */
const words = ({ data, kernel }: Machine, memoryFile: string): string[] => [
  ...["-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", MEMORY],
  ...data.flatMap((folder) => ["-L", folder]),
  ...["-kernel", kernel, "-initrd", memoryFile, "-append", "console=ttyS0 quiet loglevel=3 panic=-1 rdinit=/init"],
  ...["-nodefaults", "-no-user-config", "-nographic", "-serial", "stdio", "-no-reboot"],
];

/** What the machine wrote on its serial console, also while it runs. */
async function booted(from: Machine, memoryFile: string): Promise<string> {
  const child = spawn(from.emulator, words(from, memoryFile), {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, LD_LIBRARY_PATH: from.libraries },
  });
  const limit = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS);
  let printed = "";
  child.stdout.setEncoding("utf8").on("data", (part: string) => {
    printed += part;
    process.stdout.write(part);
  });
  try {
    await new Promise<void>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", () => resolve());
    });
  } finally {
    clearTimeout(limit);
  }
  return printed;
}

async function run(): Promise<number> {
  const from = machine();
  console.log(`Debian's packages: there after ${seconds()}`);
  const folder = mkdtempSync(path.join(tmpdir(), "orlop-vm-"));
  try {
    const memoryFile = path.join(folder, "memory");
    writeArchive(memoryFile, contents(from));
    console.log(`kernel ${from.release} boots after ${seconds()}`);
    const said = await booted(from, memoryFile);
    const status = /^the machine ends with (\d+)/m.exec(said)?.[1];
    console.log(
      `${status === undefined ? "the machine did not end by itself" : `status ${status}`}, after ${seconds()}`,
    );
    return status === "0" ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

try {
  process.exitCode = await run();
} catch (error) {
  console.error(error instanceof Unavailable ? `did not run: ${error.message}` : error);
  process.exitCode = error instanceof Unavailable ? 2 : 1;
}
