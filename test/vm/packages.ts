// test vm · Debian's emulator, kernel and busybox, unpacked into the peers' cache. Nothing is installed on this machine.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import path from "node:path";
import { cacheRoot, Unavailable } from "../peers/support/projects.ts";
import { unreachable } from "../peers/support/unreachable.ts";

/** Its libraries come with it, as far as this machine lacks them. */
const EMULATOR = "qemu-system-x86";
/** A package without files of its own, which depends on the newest kernel. */
const KERNEL = "linux-image-cloud-amd64";
const SHELL = "busybox-static";
/** Another number after a change here makes other folders. */
const FORM = 1;

export type Machine = {
  readonly emulator: string;
  /** For LD_LIBRARY_PATH of the emulator. */
  readonly libraries: string;
  /** Of the emulator's firmware. */
  readonly data: readonly string[];
  readonly kernel: string;
  readonly release: string;
  /** Kernel modules by name. */
  readonly module: (name: string) => string;
  readonly busybox: string;
};

/** @throws Unavailable when Debian's packages do not answer and the cache lacks them; Error when they cannot be unpacked */
export function machine(): Machine {
  const key = createHash("sha256").update([EMULATOR, KERNEL, SHELL, FORM].join("\n")).digest("hex").slice(0, 16);
  const folder = path.join(cacheRoot, `vm-${key}`);
  if (!existsSync(folder)) fill(folder);
  return described(folder);
}

function fill(folder: string): void {
  const fresh = `${folder}.${process.pid}`;
  const archives = path.join(fresh, "archives");
  mkdirSync(path.join(archives, "partial"), { recursive: true });
  try {
    download(archives);
    for (const name of readdirSync(archives).filter((name) => name.endsWith(".deb"))) {
      const words = ["-x", path.join(archives, name), path.join(fresh, "root")];
      const done = spawnSync("dpkg-deb", words, { encoding: "utf8" });
      if (done.status !== 0) throw new Error(`${name} cannot be unpacked: ${done.stderr}`);
    }
    rmSync(archives, { recursive: true });
    // Two runs may fill the cache at once; the first to finish provides it.
    if (existsSync(folder)) rmSync(fresh, { recursive: true });
    else renameSync(fresh, folder);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    throw error;
  }
}

function download(archives: string): void {
  // Into a folder of ours, so that no lock of apt's is needed: other programs may be installing meanwhile.
  const own = [
    "-qq",
    "-o",
    "Debug::NoLocking=1",
    "-o",
    "APT::Sandbox::User=root",
    "-o",
    `Dir::Cache::archives=${archives}`,
  ];
  const emulator = ["apt-get", ...own, "-y", "--no-install-recommends", "--download-only", "install", EMULATOR];
  try {
    apt(emulator, archives);
  } catch {
    // The lists of packages are missing, or older than what the server has.
    apt(["apt-get", "update", "-qq"], archives);
    apt(emulator, archives);
  }
  const depends = apt(["apt-cache", "depends", KERNEL], archives);
  const kernel = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (kernel === undefined) throw new Error(`${KERNEL} depends on no kernel:\n${depends}`);
  apt(["apt-get", ...own, "download", kernel, SHELL], archives);
}

function apt([command = "", ...words]: readonly string[], cwd: string): string {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const done = spawnSync(command, words, { cwd, env, encoding: "utf8", maxBuffer: 64 << 20, timeout: 300_000 });
  const output = `${done.stdout ?? ""}\n${done.stderr ?? ""}`.trim();
  if (done.status === 0) return output;
  if (done.error !== undefined || unreachable(output))
    throw new Unavailable(`${command} got no answer from Debian's packages`);
  throw new Error(`${command} ${words.join(" ")} ended with ${done.status}\n${output.slice(-2_000)}`);
}

function described(folder: string): Machine {
  const root = path.join(folder, "root");
  const modules = path.join(root, "lib/modules");
  const [release = ""] = readdirSync(modules);
  const files = readdirSync(root, { recursive: true, encoding: "utf8" });
  const found = (name: string): string => {
    const file = files.find((file) => path.basename(file) === name);
    if (file === undefined) throw new Error(`${name} is not in ${root}`);
    return path.join(root, file);
  };
  const libraries = files
    .filter((file) => /\.so(\.\d+)*$/.test(file))
    .map((file) => path.dirname(path.join(root, file)));
  return {
    emulator: path.join(root, "usr/bin/qemu-system-x86_64"),
    libraries: [...new Set(libraries)].join(":"),
    data: [path.join(root, "usr/share/qemu"), path.join(root, "usr/share/seabios")],
    kernel: path.join(root, `boot/vmlinuz-${release}`),
    release,
    module: (name) => found(`${name}.ko`),
    busybox: path.join(root, "bin/busybox"),
  };
}
