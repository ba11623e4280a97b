// keeper · finds a pod by itself: UID → cgroup directory → oldest process → network namespace. Believes no message.
// Reads cgroup2 and /proc only; both are handed in as paths, so that a test can lay out its own.
import { closeSync, fstatSync, openSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";

export type PodTree = {
  /** The ancestor cgroup of all pods, as a directory of the cgroup2 mount. */
  readonly podsCgroup: string;
  readonly proc: string;
  /** Pods without a process yet, whose namespace the CNI plug-in has named; undefined: nobody names any. */
  readonly unborn?: {
    open(uid: string): UnbornNamespace | undefined;
    has(uid: string, netns: NamespaceId): boolean;
  };
  /** What an earlier walk has found of the pod; undefined: each search walks the tree. */
  readonly directoriesOf?: (uid: string) => readonly string[];
};

/** The descriptor is the caller's. */
export type UnbornNamespace = { readonly netns: NamespaceId; readonly netnsFd: number };

/** A process by pid *and* start time (clock ticks since boot), since a pid alone is reused. */
export type ProcessId = { readonly pid: number; readonly startTicks: bigint };
/** Inode numbers of namespaces are reused too, so the device is compared as well, and later the cookie. */
export type NamespaceId = { readonly dev: bigint; readonly ino: bigint };

export type FoundPod = {
  readonly uid: string;
  /** Undefined, as the process: the pod has no process yet. */
  readonly cgroup: string | undefined;
  readonly process: ProcessId | undefined;
  readonly netns: NamespaceId;
  /** Open on the network namespace, which it holds. The caller closes it. */
  readonly netnsFd: number;
};

export type PodNotFound = { readonly refused: "pod-not-found" | "host-network"; readonly message: string };

/** kubepods.slice/kubepods-burstable.slice/…: pods lie at most three levels down; one to spare. */
const MAX_DEPTH = 4;
/** Directories looked at in one search; a tree beyond that is no pods tree. */
const MAX_DIRECTORIES = 20_000;
/** Processes of one pod looked at; the oldest of a pod is among its first. */
const MAX_PROCESSES = 10_000;

/** The two spellings of Kubernetes: `pod<uid>` (cgroupfs driver), `…-pod<uid with _>.slice` (systemd driver). */
export function isPodDirectory(name: string, uid: string): boolean {
  return name === `pod${uid}` || name.endsWith(`-pod${uid.replaceAll("-", "_")}.slice`);
}

/** The UID in a directory's name of either spelling; undefined: it is no pod's. A static pod's is a hash without dashes. */
export function podUidOf(name: string): string | undefined {
  const [, plain, escaped] = /^(?:pod(.+)|.*-pod([^-]+)\.slice)$/.exec(name) ?? [];
  return plain ?? escaped?.replaceAll("_", "-");
}

/** A directory of either spelling, of whatever pod. */
export const looksLikePod = (name: string): boolean => podUidOf(name) !== undefined;

const missing = (error: unknown): boolean =>
  error instanceof Error &&
  "code" in error &&
  (error.code === "ENOENT" || error.code === "ENODEV" || error.code === "ESRCH");

/** What `read` gives, or undefined when the thing has gone meanwhile: pods come and go under every search. */
function unlessGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (missing(error)) return undefined;
    throw error;
  }
}

function subdirectories(path: string): string[] {
  const entries = unlessGone(() => readdirSync(path, { withFileTypes: true })) ?? [];
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}

/** Directories in which cgroups of pods may be, and those that look like a pod's. */
export function cgroupsOfPods(tree: PodTree): { readonly directories: string[]; readonly pods: string[] } {
  const directories = [tree.podsCgroup];
  const pods: string[] = [];
  let level = directories;
  for (let depth = 0; depth < MAX_DEPTH && directories.length + pods.length < MAX_DIRECTORIES; depth++) {
    const next: string[] = [];
    for (const path of level) {
      for (const name of subdirectories(path)) (looksLikePod(name) ? pods : next).push(join(path, name));
    }
    // What lies deeper than a pod may lie is not looked into.
    if (depth + 1 < MAX_DEPTH) directories.push(...next);
    level = next;
  }
  return { directories, pods };
}

/** Directories of that pod; more than one is an ambiguity that the caller refuses. */
export function podDirectories(tree: PodTree, uid: string): string[] {
  const found: string[] = [];
  const queue: { readonly path: string; readonly depth: number }[] = [{ path: tree.podsCgroup, depth: 0 }];
  for (let looked = 0; looked < queue.length && looked < MAX_DIRECTORIES; looked++) {
    const here = queue[looked];
    if (here === undefined) break;
    for (const name of subdirectories(here.path)) {
      const path = join(here.path, name);
      if (isPodDirectory(name, uid)) found.push(path);
      // Never inside a pod: what it may create there must not be taken for another pod.
      else if (here.depth + 1 < MAX_DEPTH && !looksLikePod(name)) queue.push({ path, depth: here.depth + 1 });
    }
  }
  return found;
}

/** The same tree, walked at most once whatever number of pods is looked for. What comes later is not seen: it is for a single sweep. */
export function walkedOnce<Tree extends PodTree>(tree: Tree): Tree {
  let found: Map<string, string[]> | undefined;
  const directoriesOf = (uid: string): readonly string[] => {
    found ??= bySpelling(cgroupsOfPods(tree).pods);
    return [`pod${uid}`, `-pod${uid.replaceAll("-", "_")}.slice`].flatMap((name) => found?.get(name) ?? []);
  };
  return { ...tree, directoriesOf };
}

/** By the part of the directory's name that `isPodDirectory` compares, in either spelling. */
function bySpelling(paths: readonly string[]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const path of paths) {
    const name = basename(path);
    const slice = name.lastIndexOf("-pod");
    const spellings = [...(name.startsWith("pod") ? [name] : []), ...(slice >= 0 ? [name.slice(slice)] : [])];
    for (const spelled of spellings) found.set(spelled, [...(found.get(spelled) ?? []), path]);
  }
  return found;
}

function pidsBelow(cgroup: string): number[] {
  const pids: number[] = [];
  const queue = [cgroup];
  for (let looked = 0; looked < queue.length && looked < MAX_DIRECTORIES && pids.length < MAX_PROCESSES; looked++) {
    const path = queue[looked];
    if (path === undefined) break;
    const text = unlessGone(() => readFileSync(join(path, "cgroup.procs"), "utf8")) ?? "";
    // 0: a process of a pid namespace that we cannot see.
    for (const line of text.split("\n")) if (Number(line) > 0) pids.push(Number(line));
    for (const name of subdirectories(path)) queue.push(join(path, name));
  }
  return pids;
}

/** Field 22 of /proc/<pid>/stat. The second field may hold spaces and brackets, so count from the last bracket. */
export function startTicksOf(proc: string, pid: number): bigint | undefined {
  const stat = unlessGone(() => readFileSync(join(proc, String(pid), "stat"), "utf8"));
  const field = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
  // A zombie has no namespaces any more.
  if (field === undefined || field[0] === "Z" || field[0] === "X") return undefined;
  const ticks = field[19];
  return ticks !== undefined && /^\d+$/.test(ticks) ? BigInt(ticks) : undefined;
}

/** Is any process in it, or in a cgroup below? */
export const hasProcesses = (cgroup: string): boolean => pidsBelow(cgroup).length > 0;

function oldestFirst(tree: PodTree, cgroup: string): ProcessId[] {
  return pidsBelow(cgroup)
    .flatMap((pid) => {
      const startTicks = startTicksOf(tree.proc, pid);
      return startTicks === undefined ? [] : [{ pid, startTicks }];
    })
    .sort((a, b) => (a.startTicks < b.startTicks ? -1 : a.startTicks > b.startTicks ? 1 : a.pid - b.pid));
}

const netnsPath = (tree: PodTree, pid: number | "self"): string => join(tree.proc, String(pid), "ns", "net");

function namespaceOf(tree: PodTree, pid: number | "self"): NamespaceId | undefined {
  const stat = unlessGone(() => statSync(netnsPath(tree, pid), { bigint: true }));
  return stat && { dev: stat.dev, ino: stat.ino };
}

export const sameNamespace = (a: NamespaceId, b: NamespaceId): boolean => a.dev === b.dev && a.ino === b.ino;

/** On a plain machine the first process may be closed to us (no CAP_SYS_PTRACE); there our own namespace is the node's. */
function unlessForbidden<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch (error) {
    const code = error instanceof Error ? Reflect.get(error, "code") : undefined;
    if (code === "EACCES" || code === "EPERM") return undefined;
    throw error;
  }
}

/** More than one process of the pod lives: the first is its sandbox's, and the others are of its containers. */
export const hasContainers = (tree: PodTree, { cgroup }: Pick<FoundPod, "cgroup">): boolean =>
  cgroup !== undefined && oldestFirst(tree, cgroup).length > 1;

/** Finds the pod and opens its network namespace, or says why not. What runs counts, before what was said. */
export function findPod(tree: PodTree, uid: string): FoundPod | PodNotFound {
  const running = findRunning(tree, uid);
  if (!("refused" in running)) return running;
  const unborn = tree.unborn?.open(uid);
  if (unborn === undefined) return running;
  if (!isNodes(tree, unborn.netns)) return { uid, cgroup: undefined, process: undefined, ...unborn };
  closeSync(unborn.netnsFd);
  return { refused: "host-network", message: `pod ${uid} was begun in the node's network namespace` };
}

/** Is it the keeper's own, or that of the node's first process? */
function isNodes(tree: PodTree, netns: NamespaceId): boolean {
  const own = namespaceOf(tree, "self");
  // The keeper may have a network namespace of its own; the node's is then that of its first process.
  const nodes = unlessForbidden(() => namespaceOf(tree, 1));
  return own === undefined || sameNamespace(netns, own) || (nodes !== undefined && sameNamespace(netns, nodes));
}

/** Ticks of /proc/<pid>/stat in a second (USER_HZ of Linux, the same on every architecture that Orlop is built for). */
const TICKS_PER_S = 100n;
/** A runtime's process is in the node's namespace for a moment on its way to the pod's own; longer only on a machine that is nearly stuck. */
const RUNTIME_S = 10n;

/**
 * The pod lives on the node's own network, as far as can be seen: its oldest process, the sandbox's, has been in the node's network namespace
 * for so long that it is no process of the runtime on its way into the pod.
 */
export function livesOnNodesNetwork(tree: PodTree, uid: string): boolean {
  const [cgroup, ...others] = tree.directoriesOf?.(uid) ?? podDirectories(tree, uid);
  if (cgroup === undefined || others.length > 0) return false;
  const [oldest] = oldestFirst(tree, cgroup);
  const uptime = unlessGone(() => readFileSync(join(tree.proc, "uptime"), "utf8"));
  const seconds = /^(\d+)/.exec(uptime ?? "")?.[1];
  if (oldest === undefined || seconds === undefined) return false;
  if (BigInt(seconds) - oldest.startTicks / TICKS_PER_S < RUNTIME_S) return false;
  const netns = namespaceOf(tree, oldest.pid);
  return netns !== undefined && isNodes(tree, netns) && startTicksOf(tree.proc, oldest.pid) === oldest.startTicks;
}

type RunningPod = FoundPod & { readonly cgroup: string; readonly process: ProcessId };

function findRunning(tree: PodTree, uid: string): RunningPod | PodNotFound {
  const directories = tree.directoriesOf?.(uid) ?? podDirectories(tree, uid);
  const [cgroup] = directories;
  if (cgroup === undefined)
    return { refused: "pod-not-found", message: `no cgroup of pod ${uid} below ${tree.podsCgroup}` };
  if (directories.length > 1)
    return { refused: "pod-not-found", message: `several cgroups claim pod ${uid}: ${directories.join(", ")}` };
  for (const process of oldestFirst(tree, cgroup)) {
    const netnsFd = unlessGone(() => openSync(netnsPath(tree, process.pid), "r"));
    if (netnsFd === undefined) continue;
    const stat = fstatSync(netnsFd, { bigint: true });
    const netns = { dev: stat.dev, ino: stat.ino };
    // Same start time after the open as before it: the namespace is that of the process found in the pod, not of a
    // later one with its pid.
    if (startTicksOf(tree.proc, process.pid) !== process.startTicks) {
      closeSync(netnsFd);
      continue;
    }
    if (isNodes(tree, netns)) {
      closeSync(netnsFd);
      return { refused: "host-network", message: `pod ${uid} shares the node's network namespace` };
    }
    return { uid, cgroup, process, netns, netnsFd };
  }
  return { refused: "pod-not-found", message: `pod ${uid} has no process in ${cgroup}` };
}

/**
 * Is the pod still what was found? Its process, or when that has ended the pod's oldest process that lives in the same
 * network namespace. Undefined: the pod has gone, or a new sandbox took its place.
 */
function stillThere(tree: PodTree, pod: Pick<RunningPod, "cgroup" | "process" | "netns">): ProcessId | undefined {
  if (startTicksOf(tree.proc, pod.process.pid) === pod.process.startTicks) return pod.process;
  return oldestFirst(tree, pod.cgroup).find((process) => {
    const netns = namespaceOf(tree, process.pid);
    return netns !== undefined && sameNamespace(netns, pod.netns);
  });
}

/** As `stillThere`, also of a pod that had no process: then its first process is found, or nobody has said that its namespace goes. */
export function nowOf(tree: PodTree, pod: FoundPod): Pick<FoundPod, "cgroup" | "process"> | undefined {
  const { uid, cgroup, process, netns } = pod;
  if (cgroup !== undefined && process !== undefined) {
    const now = stillThere(tree, { cgroup, process, netns });
    return now && { cgroup, process: now };
  }
  const begun = findRunning(tree, uid);
  if ("refused" in begun) return tree.unborn?.has(uid, netns) ? { cgroup, process } : undefined;
  closeSync(begun.netnsFd);
  return sameNamespace(begun.netns, netns) ? { cgroup: begun.cgroup, process: begun.process } : undefined;
}
