// test box · an earlier revision of this repository, built out of git's history below build/previous.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The directory of a revision, with its addons built; default: that before the layout of the maps changed (layout 2). */
export function buildPrevious(revision?: string): string {
  const args = revision === undefined ? [] : [revision];
  return execFileSync(".ci/build-previous", args, { cwd: root, encoding: "utf8", maxBuffer: 1 << 28 }).trim();
}
