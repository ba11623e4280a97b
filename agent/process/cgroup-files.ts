// any thread · reads /proc and the tree of cgroup v2 for cgroup-tree.ts. Changes nothing.
import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { CgroupReader, CgroupTexts } from "./cgroup-tree.ts";

/** @throws when /proc is not mounted */
export const cgroupTexts = (): CgroupTexts => ({
  mountinfo: readFileSync("/proc/self/mountinfo", "utf8"),
  procCgroup: readFileSync("/proc/self/cgroup", "utf8"),
});

/** A cgroup that has gone, or that is closed to this process, reads as empty. */
function orElse<T>(otherwise: T, read: () => T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}

export const cgroupReader: CgroupReader = {
  subdirectories: (directory) =>
    orElse([], () =>
      readdirSync(directory, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => entry.name),
    ),
  holdsUs: (directory) =>
    orElse(false, () =>
      readFileSync(join(directory, "cgroup.procs"), "utf8").split("\n").includes(String(process.pid)),
    ),
  ownerOf: (directory) => orElse<number | undefined>(undefined, () => lstatSync(directory).uid),
};
