// bench · the programs a run uses: ours compiled from load/, the peers' found, each with its version.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL("../load/", import.meta.url));
const built = fileURLToPath(new URL("../../build/bench/", import.meta.url));
const flags = ["-O2", "-std=c17", "-Wall", "-Wextra", "-Werror"];

type Part = {
  /** Of no other program but its own. */
  readonly sources: readonly string[];
  /** Of `load`, too. */
  readonly shared?: readonly string[];
  readonly flags: readonly string[];
  readonly libraries?: readonly string[];
};
type OwnProgram = "load" | "relay" | "seal.node" | "calls";

/** What it is made of; all other sources are of `load`. */
const parts: Readonly<Record<Exclude<OwnProgram, "load">, Part>> = {
  relay: { sources: ["relay.c"], flags: [] },
  /** An addon for Node. */
  "seal.node": { sources: ["relay.c", "seal.c"], flags: ["-fPIC", "-shared", "-DRELAY_IS_A_PART"] },
  calls: {
    sources: ["calls.c", "calls_frames.c", "calls_serve.c"],
    shared: ["common.c", "dial.c", "watch.c"],
    flags: [],
    libraries: ["-lnghttp2"],
  },
};

/** Path of the program; compiled when a source is newer. Throws with the compiler's words. */
export function ownProgram(name: OwnProgram): string {
  const program = path.join(built, name);
  const all = readdirSync(here).filter((file) => /\.[ch]$/.test(file));
  const newest = Math.max(...all.map((file) => statSync(path.join(here, file)).mtimeMs));
  if (existsSync(program) && statSync(program).mtimeMs > newest) return program;
  const others: readonly string[] = Object.values(parts).flatMap((part) => part.sources);
  const {
    sources: files,
    shared = [],
    flags: more,
    libraries = [],
  }: Part = name === "load"
    ? { sources: all.filter((file) => file.endsWith(".c") && !others.includes(file)), flags: [] }
    : parts[name];
  const sources = [...files, ...shared].map((file) => path.join(here, file));
  mkdirSync(built, { recursive: true });
  const fresh = `${program}.${process.pid}`;
  const headers = path.join(path.dirname(process.execPath), "../include/node");
  execFileSync("cc", [...flags, ...more, `-I${headers}`, "-o", fresh, ...sources, ...libraries], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  renameSync(fresh, program);
  return program;
}

const packages: Readonly<Record<string, string>> = {
  haproxy: "haproxy",
  nginx: "nginx libnginx-mod-stream",
  nghttpx: "nghttp2-proxy",
  nghttpd: "nghttp2-server",
  h2load: "nghttp2-client",
  openssl: "openssl",
  iptables: "iptables",
  taskset: "util-linux",
  chrt: "util-linux",
  valgrind: "valgrind",
};

/** Absolute path of an installed program. Throws with the package that holds it. */
export function installed(name: string): string {
  const folders = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/sbin"];
  const found = folders.map((folder) => path.join(folder, name)).find((file) => existsSync(file));
  if (found === undefined) throw new Error(`${name} is not installed: apt-get install ${packages[name] ?? name}`);
  return found;
}

/** A peer that no distribution carries: its path comes from the environment. */
export function given(variable: string): string {
  const file = process.env[variable];
  if (file === undefined || file === "") throw new Error(`set ${variable} to the path of its binary to measure it`);
  if (!existsSync(file)) throw new Error(`${variable}=${file}: there is no such file`);
  return file;
}

/** The first line that a program says about itself. */
export function versionOf(program: string, args: readonly string[]): string {
  const { stdout, stderr } = spawnSync(program, args, { encoding: "utf8" });
  return (
    `${stdout ?? ""}\n${stderr ?? ""}`
      .split("\n")
      .find((line) => line.trim() !== "")
      ?.trim() ?? "unknown"
  );
}
