// keeper · reads /proc and the cgroup tree for programs of the node: processes that may be the kubelet, and the directory of a cgroup
// that an operator named. Believes the name of a directory only where root alone makes directories.
import { lstatSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, normalize } from "node:path";
import { type Cgroup2Mount, cgroup2Mounts, cgroup2Path, placeBelow } from "../process/cgroup-tree.ts";
import { type CgroupTree, isInPods, isKubeletName, type NodeProcess } from "./node-programs.ts";
import { type NamespaceId, startTicksOf } from "./pods.ts";

/** Directories looked at in one search. */
const MAX_DIRECTORIES = 5_000;
/** Slices below slices. */
const MAX_DEPTH = 6;

/** A thing of /proc or of the cgroup tree that has gone meanwhile, or is closed to us. */
function unlessGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (["ENOENT", "ENODEV", "ESRCH", "EACCES", "EPERM", "ENOTDIR"].includes(String(code))) return undefined;
    throw error;
  }
}

const idOf = (path: string): NamespaceId | undefined => {
  const stat = unlessGone(() => statSync(path, { bigint: true }));
  return stat && { dev: stat.dev, ino: stat.ino };
};

export type NamedCgroup =
  | { readonly state: "found"; readonly directory: string }
  | { readonly state: "absent" }
  | { readonly state: "several" };

export class NodeTree {
  readonly #proc: string;
  readonly #podsCgroup: string;
  #tree: CgroupTree | undefined;
  #mount: Cgroup2Mount | undefined;

  constructor({ proc, podsCgroup }: { readonly proc: string; readonly podsCgroup: string }) {
    this.#proc = proc;
    this.#podsCgroup = podsCgroup;
  }

  /** The mount that holds the pods' cgroup, else the mount that shows the most. @throws when there is no cgroup v2 */
  tree(): CgroupTree {
    this.#tree ??= this.#readTree();
    return this.#tree;
  }

  #readTree(): CgroupTree {
    const mounts = this.#mounts();
    const podsCgroup = this.#podsCgroup;
    const mount = mounts.find(({ point }) => podsCgroup === point || podsCgroup.startsWith(`${point}/`)) ?? mounts[0];
    if (mount === undefined) throw new Error("cgroup v2 is not mounted");
    this.#mount = mount;
    return { mount: mount.point, podsCgroup };
  }

  /** `/proc/<pid>/ns/net` of the node's own namespace: that of pid 1, or ours where pid 1 is closed to us, as on a plain machine. */
  nodeNetns(): { readonly path: string; readonly id: NamespaceId } {
    for (const pid of ["1", "self"]) {
      const path = join(this.#proc, pid, "ns", "net");
      const id = idOf(path);
      if (id !== undefined) return { path, id };
    }
    throw new Error("the network namespace of the node is not visible");
  }

  /** Processes whose name is in KUBELET_NAMES. */
  kubelets(): readonly NodeProcess[] {
    const tree = this.tree();
    let listed: ReadonlyMap<number, string> | undefined;
    // At most once for all processes: anybody may call processes like a kubelet, as many as he likes.
    const elsewhere = (pid: number): string | undefined => {
      listed ??= this.#listed(tree);
      return listed.get(pid);
    };
    return readdirSync(this.#proc)
      .filter((name) => /^[1-9]\d*$/.test(name))
      .flatMap((pid) => this.#processOf(Number(pid), elsewhere) ?? []);
  }

  /** Does it still run, under that name and in that cgroup? */
  isStill({ process: { pid, startTicks }, name, cgroup }: NodeProcess): boolean {
    return this.#file(pid, "comm") === name && lists(cgroup, pid) && startTicksOf(this.#proc, pid) === startTicks;
  }

  /** The id of a cgroup, as the hooks see it: the number of its directory. Undefined: there is no such directory. */
  cgroupId(directory: string): bigint | undefined {
    return unlessGone(() => lstatSync(directory, { bigint: true }))?.ino;
  }

  /**
   * A unit of systemd (`node-exporter.service`) or a path, with the mount or from the root of the tree on (`/system.slice/x.service`).
   * Units are looked for in slices of root's alone, so that a user's own manager cannot offer a unit of that name.
   */
  named(text: string): NamedCgroup {
    const { mount } = this.tree();
    if (text.startsWith("/")) {
      // Whether it lies among pods is read off the path, so the path has no detours.
      const straight = normalize(text).replace(/(?<=.)\/$/, "");
      const directory = straight === mount || straight.startsWith(`${mount}/`) ? straight : join(mount, straight);
      return this.cgroupId(directory) === undefined ? { state: "absent" } : { state: "found", directory };
    }
    const found: string[] = [];
    const queue: { readonly path: string; readonly depth: number }[] = [{ path: mount, depth: 0 }];
    for (let looked = 0; looked < queue.length && looked < MAX_DIRECTORIES; looked++) {
      const here = queue[looked];
      if (here === undefined) break;
      for (const name of this.#subdirectories(here.path)) {
        const path = join(here.path, name);
        if (unlessGone(() => lstatSync(path).uid) !== 0) continue;
        if (name === text) found.push(path);
        else if (name.endsWith(".slice") && here.depth + 1 < MAX_DEPTH) queue.push({ path, depth: here.depth + 1 });
      }
    }
    const [directory, another] = found;
    if (directory === undefined) return { state: "absent" };
    return another === undefined ? { state: "found", directory } : { state: "several" };
  }

  #mounts(): Cgroup2Mount[] {
    return cgroup2Mounts(readFileSync(join(this.#proc, "self", "mountinfo"), "utf8"));
  }

  #subdirectories(path: string): string[] {
    const entries = unlessGone(() => readdirSync(path, { withFileTypes: true })) ?? [];
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  }

  #file(pid: number, name: string): string | undefined {
    return unlessGone(() => readFileSync(join(this.#proc, String(pid), name), "utf8"))?.trimEnd();
  }

  #processOf(pid: number, elsewhere: (pid: number) => string | undefined): NodeProcess | undefined {
    const name = this.#file(pid, "comm");
    if (name === undefined || !isKubeletName(name)) return undefined;
    const startTicks = startTicksOf(this.#proc, pid);
    const [, real, effective] = /^Uid:\s+(\d+)\s+(\d+)/m.exec(this.#file(pid, "status") ?? "") ?? [];
    const netns = idOf(join(this.#proc, String(pid), "ns", "net"));
    const path = cgroup2Path(this.#file(pid, "cgroup") ?? "");
    const place = path !== undefined && this.#mount !== undefined ? placeBelow(this.#mount, path) : undefined;
    const shown = place?.state === "known" ? place.directory : undefined;
    const cgroup = shown !== undefined && lists(shown, pid) ? shown : elsewhere(pid);
    if (startTicks === undefined || real === undefined || netns === undefined || cgroup === undefined) return undefined;
    // What was read is of this process and not of a later one with its pid.
    if (startTicksOf(this.#proc, pid) !== startTicks) return undefined;
    return { process: { pid, startTicks }, name, uids: [Number(real), Number(effective)], netns, cgroup };
  }

  /** Every process outside pods, by the directory that lists it. */
  #listed(tree: CgroupTree): ReadonlyMap<number, string> {
    const found = new Map<number, string>();
    const queue = [tree.mount];
    for (let looked = 0; looked < queue.length && looked < MAX_DIRECTORIES; looked++) {
      const here = queue[looked];
      if (here === undefined) break;
      for (const pid of pidsIn(here)) found.set(Number(pid), here);
      const below = this.#subdirectories(here).map((name) => join(here, name));
      queue.push(...below.filter((directory) => !isInPods(directory, tree)));
    }
    return found;
  }
}

const pidsIn = (directory: string): string[] =>
  (unlessGone(() => readFileSync(join(directory, "cgroup.procs"), "utf8")) ?? "").split("\n").filter(Boolean);

const lists = (directory: string, pid: number): boolean => pidsIn(directory).includes(String(pid));
