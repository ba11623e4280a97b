// keeper · what the keeper needs of the machine before it loads anything, and takes away when it is removed: its directory, the pods'
// cgroup, a bpf file system. What was there before it stays.
import { execFileSync } from "node:child_process";
import {
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { cgroup2Mount, parseMountinfo } from "../process/mounts.ts";
import type { KeeperLog } from "./lend.ts";

type CgroupPlaces = { readonly podsCgroup: string; readonly directory: string };

/** The mount source by which a later keeper recognises a mount that a keeper made. */
const MOUNT_SOURCE = "orlop";
const CGROUP_NOTE = "made-pods-cgroup";

/** The agent parses hostile bytes: where it could write, it could put a socket of its own in our socket's place. */
export function ownDirectory(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o755 });
  const { uid, mode } = lstatSync(path);
  const foreign =
    uid !== process.geteuid?.() || (mode & 0o022) !== 0 || (mode & constants.S_IFMT) !== constants.S_IFDIR;
  if (foreign) throw new Error(`${path} must be a directory of the keeper's user in which nobody else may write`);
}

/** statfs(2), CGROUP2_SUPER_MAGIC (linux:include/uapi/linux/magic.h). */
const CGROUP2 = 0x63677270;

/**
 * The directory above all pods where no kubelet is asked about it: as it is named, or "mounted".
 * @throws with `code`, a page of docs/codes, when no hook could be attached there. Afterwards the kernel would say EBADF
 */
export function namedCgroup(named: string, { mountinfo }: { readonly mountinfo: string }): string {
  const mount = cgroup2Mount(mountinfo);
  if (mount === undefined)
    throw unusable("ORL1003", "cgroup v2 is not mounted", "mount -t cgroup2 none /sys/fs/cgroup/unified");
  if (named === "mounted") return mount;
  // The keeper makes what is not there yet.
  let there = named;
  while (!existsSync(there)) there = dirname(there);
  if (statfsSync(there).type === CGROUP2) return named;
  const what = `the pods' cgroup ${named} does not lie in the tree of cgroup v2, so no hook would ever see a pod`;
  throw unusable("ORL1004", what, `set spec.podsCgroup to ${mount} or a directory below it, or leave it out`);
}

function unusable(code: "ORL1003" | "ORL1004", what: string, fix: string): Error {
  return Object.assign(new Error(`${what}: ${fix}`), { code });
}

/** On a plain machine the pods' ancestor cgroup may be missing; Kubernetes always has it. A file in the run directory records that a keeper made it. */
export function makeCgroup({ podsCgroup, directory }: CgroupPlaces, log: KeeperLog): void {
  if (existsSync(podsCgroup)) return;
  mkdirSync(podsCgroup, { recursive: true });
  writeFileSync(join(directory, CGROUP_NOTE), podsCgroup);
  log.info("made the pods' cgroup", { path: podsCgroup });
}

export function removeCgroup({ podsCgroup, directory }: CgroupPlaces, log: KeeperLog): void {
  const note = join(directory, CGROUP_NOTE);
  if (!existsSync(note) || readFileSync(note, "utf8") !== podsCgroup) return;
  try {
    rmdirSync(podsCgroup);
    rmSync(note);
  } catch (error) {
    log.warn("the pods' cgroup stays: something lives in it", { path: podsCgroup, error: String(error) });
  }
}

/** Is a bpf file system mounted on exactly this directory, and did a keeper mount it? */
function bpffsAt(path: string): "ours" | "another's" | "none" {
  const mount = parseMountinfo(readFileSync("/proc/self/mountinfo", "utf8")).findLast(({ point }) => point === path);
  if (mount?.type !== "bpf") return "none";
  return mount.source === MOUNT_SOURCE ? "ours" : "another's";
}

/** The directory of pins in it is 0700, and no pod is given this mount. */
export function mountBpffs(path: string, log: KeeperLog): void {
  if (bpffsAt(path) !== "none") return;
  mkdirSync(path, { recursive: true, mode: 0o700 });
  execFileSync("mount", ["-t", "bpf", "-o", "mode=0700", MOUNT_SOURCE, path]);
  log.info("mounted a bpf file system", { path });
}

export function unmountBpffs(path: string): void {
  if (bpffsAt(path) === "ours") execFileSync("umount", [path]);
}
