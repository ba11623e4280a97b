// keeper · hears by inotify of new cgroups of pods, and of the first and the last process in each: a new sandbox of a protected pod
// is guarded then, and not only with the next sweep.
import { type FSWatcher, watch } from "node:fs";
import { basename, join } from "node:path";
import type { KeeperLog } from "./lend.ts";
import { cgroupsOfPods, type PodTree } from "./pods.ts";

export type PodWatchOptions = {
  readonly tree: PodTree;
  /** Called for each event; there may be many for one change. It leads to `look` before long. */
  readonly changed: () => void;
  readonly log: KeeperLog;
};

/** Watches at once; pods beyond them are found by sweeps alone. */
const MAX_WATCHES = 2_000;
/** Directories may come while the tree is read. */
const MAX_LOOKS = 5;

/**
 * Watches each directory in which pods' cgroups are made, and `cgroup.events` of each pod, which the kernel changes when its first
 * process comes or its last one goes (Linux, Documentation/admin-guide/cgroup-v2.rst, "cgroup.events").
 */
export class PodWatch {
  readonly #options: PodWatchOptions;
  readonly #watches = new Map<string, FSWatcher>();
  #isFull = false;

  constructor(options: PodWatchOptions) {
    this.#options = options;
    this.look();
  }

  get size(): number {
    return this.#watches.size;
  }

  /** Watches what has come, and lets go of what has gone. @throws the file system's errors */
  look(): void {
    for (let looks = 0; looks < MAX_LOOKS && this.#lookOnce(); looks++);
  }

  close(): void {
    for (const watcher of this.#watches.values()) watcher.close();
    this.#watches.clear();
  }

  /** True: something new is watched, so that something newer may have been missed. */
  #lookOnce(): boolean {
    const { directories, pods } = cgroupsOfPods(this.#options.tree);
    const wanted = new Set([...directories, ...pods.map((path) => join(path, "cgroup.events"))]);
    for (const path of this.#watches.keys()) if (!wanted.has(path)) this.#forget(path);
    if (wanted.size <= MAX_WATCHES) this.#isFull = false;
    let isNew = false;
    for (const path of wanted) if (!this.#watches.has(path) && this.#watch(path)) isNew = true;
    return isNew;
  }

  #watch(path: string): boolean {
    if (this.#watches.size >= MAX_WATCHES) {
      if (!this.#isFull) this.#options.log.warn("too many cgroups to watch: new pods wait for a sweep", { path });
      this.#isFull = true;
      return false;
    }
    try {
      const watcher = watch(path, { persistent: false }, (event, name) => {
        // It has gone. Another cgroup may be there under its name by the next look.
        if (event === "rename" && name === basename(path)) this.#forget(path);
        this.#options.changed();
      });
      watcher.on("error", () => this.#forget(path));
      this.#watches.set(path, watcher);
      return true;
    } catch (error) {
      // It has gone already, or the node has no inotify left: sweeps find the pod.
      this.#options.log.debug("a cgroup cannot be watched", { path, error: String(error) });
      return false;
    }
  }

  #forget(path: string): void {
    this.#watches.get(path)?.close();
    this.#watches.delete(path);
  }
}
