// test vm · what the machine's memory holds when it starts: busybox, a few programs of this machine with their libraries, Node, and
// Orlop as its image has it: JavaScript.
import { spawnSync } from "node:child_process";
import { lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Entry } from "./archive.ts";
import type { Machine } from "./packages.ts";

const root = path.resolve(fileURLToPath(new URL("../..", import.meta.url)));
const PROGRAMS = ["/usr/bin/setpriv", "/usr/bin/unshare", "/usr/bin/nsenter", "/usr/sbin/ip", "/usr/bin/sleep"];
const APPLETS = [
  "sh",
  "cat",
  "echo",
  "mount",
  "umount",
  "mkdir",
  "insmod",
  "poweroff",
  "httpd",
  "nc",
  "wget",
  "ls",
  "id",
];
const MODULES = ["veth"];
/** Below the checkout. `node_modules` comes besides, without what only builds and tests need. */
const OURS = ["package.json", "test/vm"];
const ADDONS = ["keeper.node", "engine.node"];

const init = `#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=0755 tmpfs /run
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
mount -t bpf -o mode=0700 bpf /sys/fs/bpf
for module in ${MODULES.join(" ")}; do insmod /modules/$module.ko; done
ip link set lo up
export HOME=/tmp TMPDIR=/tmp
node --test-reporter=spec ${root}/test/vm/guest.ts
echo "the machine ends with $?"
poweroff -f
`;

export function contents(machine: Machine): ReadonlyMap<string, Entry> {
  const entries = new Map<string, Entry>();
  const file = (at: string, from: string, mode = lstatSync(realpathSync(from)).mode & 0o777): void => {
    entries.set(at, { type: "file", data: { file: realpathSync(from) }, mode });
  };
  const program = (at: string, from: string): void => {
    file(at, from, 0o755);
    for (const library of librariesOf(from)) file(library, library, 0o755);
  };
  for (const directory of ["/proc", "/sys", "/dev", "/tmp", "/run", "/etc", "/host"]) {
    entries.set(directory, { type: "directory" });
  }
  entries.set("/init", { type: "file", data: Buffer.from(init), mode: 0o755 });
  file("/bin/busybox", machine.busybox, 0o755);
  for (const applet of APPLETS) entries.set(`/bin/${applet}`, { type: "link", to: "busybox" });
  for (const from of PROGRAMS) program(from, from);
  program("/usr/bin/kubelet", "/usr/bin/sleep");
  for (const name of MODULES) file(`/modules/${name}.ko`, machine.module(name));
  program("/usr/bin/node", process.execPath);
  for (const name of ADDONS)
    program(path.join(root, "native/build/Release", name), path.join(root, "native/build/Release", name));
  for (const name of [...OURS, ...runtimePackages()]) tree(path.join(root, name), path.join(root, name), entries);
  tree(path.join(root, "agent"), path.join(root, "build/program/agent"), entries);
  return entries;
}

/** Absolute paths out of ldd(1). */
function librariesOf(program: string): readonly string[] {
  const done = spawnSync("ldd", [program], { encoding: "utf8" });
  if (done.status !== 0) throw new Error(`ldd ${program}: ${done.stderr}`);
  return [...done.stdout.matchAll(/(?:=> |^\s+)(\/\S+) \(/gm)].flatMap(([, library]) => library ?? []);
}

/** Folders of the packages that run, without Node itself, which is there once already. */
function runtimePackages(): readonly string[] {
  const lock: unknown = JSON.parse(readFileSync(path.join(root, "node_modules/.package-lock.json"), "utf8"));
  const packages = lock instanceof Object && "packages" in lock && lock.packages instanceof Object ? lock.packages : {};
  return Object.entries(packages).flatMap(([name, about]: [string, unknown]) => {
    const isForTests = about instanceof Object && ("dev" in about || "devOptional" in about);
    const isNested = name.indexOf("node_modules/", 1) !== -1;
    return isForTests || isNested || name.includes("node-linux-") ? [] : [name];
  });
}

function tree(at: string, from: string, entries: Map<string, Entry>): void {
  const stat = lstatSync(from);
  if (stat.isSymbolicLink()) entries.set(at, { type: "link", to: readlinkSync(from) });
  else if (stat.isFile()) entries.set(at, { type: "file", data: { file: from }, mode: (stat.mode & 0o777) | 0o444 });
  else if (stat.isDirectory())
    for (const name of readdirSync(from)) tree(path.join(at, name), path.join(from, name), entries);
}
