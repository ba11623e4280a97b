// keeper · pods that are expected: each refuses everything from the moment its cgroup is made, before it has a process or a network
// namespace that could be guarded. The hooks are on the pod's own cgroup, pinned, and go with it.
import { statSync } from "node:fs";
import type { Enrollment } from "./enrollment-states.ts";
import { hasProcesses, livesOnNodesNetwork, type PodTree, podDirectories } from "./pods.ts";

/** Links of the hooks of bpf/pending.bpf.c on a cgroup, by the name they are pinned under. All calls may be repeated. */
export interface PendingLinks {
  attach(name: string, directory: string): void;
  detach(name: string): void;
  names(): string[];
}

/** The id of the cgroup, which no other ever has, and the UID. The bpf file system refuses dots in names; a UID holds no plus sign. */
const linkName = (id: bigint, uid: string): string => `${id}-${uid.replaceAll(".", "+")}`;

const uidOf = (name: string): string => name.slice(name.indexOf("-") + 1).replaceAll("+", ".");

/** Of the cgroup that the directory is now; undefined: it has gone. */
function nameOf(directory: string, uid: string): string | undefined {
  try {
    return linkName(statSync(directory, { bigint: true }).ino, uid);
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** Must refuse, and nothing but the hooks on its cgroup does so. */
export function isExpected(found: Enrollment | undefined, isProtected: boolean): boolean {
  if (found?.state === "prepared" && found.isGuarded) return false;
  return isProtected && (found?.state === "prepared" || found?.state === "awaited");
}

/** Is the cgroup gone? */
const isGone = (error: unknown): boolean =>
  error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENODEV");

type ExpectedPod = {
  /** Of links on the pod's cgroups: the directory. */
  readonly names: Map<string, string>;
  /** There was no process in any when the hooks were in force. */
  isEarly: boolean;
  hasFailed: boolean;
  /** The kernel refused a hook the last time. */
  isShort: boolean;
};

export class PendingPods {
  readonly #links: PendingLinks;
  readonly #failed: (uid: string, error: unknown) => void;
  readonly #held = new Map<string, ExpectedPod>();
  #areOthersGone = false;

  /** @param failed called once for a pod whose cgroup the kernel puts no hooks on; it is tried again with each call of `expect` */
  constructor(links: PendingLinks, failed: (uid: string, error: unknown) => void) {
    this.#links = links;
    this.#failed = failed;
  }

  /**
   * From here on the pod refuses everything, wherever its cgroup is by now; that of a pod that has none yet is found by a later call. What an
   * earlier keeper has attached stays on meanwhile, and gets this keeper's programs. A pod of the node's own network is let go: nobody can
   * capture it, and who names its UID must not cut the node's own programs off.
   */
  expect(uid: string, tree: PodTree): void {
    if (livesOnNodesNetwork(tree, uid)) {
      this.lift(uid);
      return;
    }
    const directories = tree.directoriesOf?.(uid) ?? podDirectories(tree, uid);
    const known = this.#held.get(uid);
    if (directories.length === 0 && known === undefined) return;
    const held = known ?? {
      names: new Map<string, string>(),
      isEarly: true,
      hasFailed: false,
      isShort: false,
    };
    this.#held.set(uid, held);
    held.isShort = false;
    const there = new Set(directories.flatMap((directory) => this.#attach(uid, directory, held) ?? []));
    for (const [name, directory] of held.names) {
      // The tree may have been walked before the cgroup was made: only what has really gone is let go of.
      if (there.has(name) || nameOf(directory, uid) === name) continue;
      this.#links.detach(name);
      held.names.delete(name);
    }
    if (directories.length === 0 && held.names.size === 0) this.#held.delete(uid);
  }

  /** The name of the link; undefined: the cgroup has gone. */
  #attach(uid: string, directory: string, held: ExpectedPod): string | undefined {
    try {
      const name = nameOf(directory, uid);
      if (name === undefined || held.names.has(name)) return name;
      this.#links.attach(name, directory);
      held.names.set(name, directory);
      if (hasProcesses(directory)) held.isEarly = false;
      return name;
    } catch (error) {
      if (isGone(error)) return undefined;
      if (!held.hasFailed) this.#failed(uid, error);
      held.hasFailed = true;
      held.isShort = true;
      held.isEarly = false;
      return undefined;
    }
  }

  /** The pod refuses by other means now, or may speak. True: it has refused everything since before its first process. */
  lift(uid: string): boolean {
    const held = this.#held.get(uid);
    if (held === undefined) return false;
    this.#held.delete(uid);
    for (const name of held.names.keys()) this.#links.detach(name);
    return held.isEarly && held.names.size > 0;
  }

  /**
   * The keeper takes its hooks off pods that nobody expects. Hooks of an earlier keeper it takes off as well, once it has looked at the pod
   * itself: it has attached its own by then, or the cgroup has gone. They stay where the kernel refuses to attach its own.
   * @param isUnknown the sweep could not look at the pod
   */
  keep(isStillExpected: (uid: string) => boolean, isUnknown: (uid: string) => boolean = () => false): void {
    for (const uid of this.#held.keys()) if (!isStillExpected(uid)) this.lift(uid);
    if (this.#areOthersGone) return;
    const ours = new Set([...this.#held.values()].flatMap(({ names }) => [...names.keys()]));
    const others = this.#links.names().filter((name) => !ours.has(name));
    const stay = others.filter((name) => {
      const uid = uidOf(name);
      return isStillExpected(uid) && (this.#held.get(uid)?.isShort ?? isUnknown(uid));
    });
    for (const name of others) if (!stay.includes(name)) this.#links.detach(name);
    this.#areOthersGone = stay.length === 0;
  }

  /** Nothing stays attached. */
  liftAll(): void {
    this.keep(() => false);
  }
}
