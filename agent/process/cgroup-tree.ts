// any thread · the tree of cgroup v2 as this process sees it: mounts of it, the process's own directory, and the directory above all
// pods. Decides over texts of /proc; what it reads of the tree is handed in.
import { join } from "node:path";
import { parseMountinfo } from "./mounts.ts";

/**
 * A mount of cgroup v2. `root` is the cgroup that is mounted, as seen from the root of this process's cgroup namespace: "/" is that
 * root, and "/../.." is two levels above it (cgroup_namespaces(7), "The /proc/pid/mountinfo file").
 */
export type Cgroup2Mount = { readonly point: string; readonly root: string };

/** Where a cgroup lies below a mount. */
export type CgroupPlace =
  | { readonly state: "known"; readonly directory: string }
  /** `hidden` levels below the mount, with names that this cgroup namespace hides, and then at `tail` ("" or "/a/b"). */
  | { readonly state: "hidden"; readonly hidden: number; readonly tail: string }
  | { readonly state: "elsewhere" };

export type CgroupReader = {
  /** Names of directories in a directory; none when it has gone or is closed to us. */
  readonly subdirectories: (directory: string) => readonly string[];
  /** Does `cgroup.procs` of this directory list this process? */
  readonly holdsUs: (directory: string) => boolean;
  /** The owner of a directory; undefined when it has gone. */
  readonly ownerOf: (directory: string) => number | undefined;
};

/** What this process reads of /proc: both texts are of one process in one cgroup namespace. */
export type CgroupTexts = { readonly mountinfo: string; readonly procCgroup: string };

/** Directories looked at in one search. */
const MAX_DIRECTORIES = 20_000;
/** The kubelet's `--cgroup-root` may have this many levels, where the keeper is not a pod itself. */
const MAX_ROOT_DEPTH = 5;

/**
 * Every mount of cgroup v2 that can be seen; the mount that shows the most of the tree is first. A mount that a later mount of the same
 * directory covers is left out: a container runtime mounts the pod's own view first, and a volume of the node's tree over it.
 */
export function cgroup2Mounts(mountinfo: string): Cgroup2Mount[] {
  const seen = new Map(parseMountinfo(mountinfo).map((mount) => [mount.point, mount]));
  const mounts = [...seen.values()]
    .filter(({ type }) => type === "cgroup2")
    .map(({ point, root }) => ({ point, root }));
  return mounts.toSorted((one, other) => levels(other.root).up - levels(one.root).up);
}

/** The path of the line of cgroup v2 in /proc/<pid>/cgroup (`0::/system.slice/x.service`); undefined: there is none. */
export const cgroup2Path = (procCgroup: string): string | undefined => /^0::(\/.*)$/m.exec(procCgroup)?.[1];

function levels(path: string): { readonly up: number; readonly down: readonly string[] } {
  const names = path.split("/").filter(Boolean);
  const first = names.findIndex((name) => name !== "..");
  const up = first === -1 ? names.length : first;
  return { up, down: names.slice(up) };
}

/**
 * Where the cgroup of a line of /proc/<pid>/cgroup lies below a mount. Both paths begin at the root of our cgroup namespace, and
 * the kernel goes up in them no further than it must (kernfs_path_from_node), so what goes up and down again is another branch.
 */
export function placeBelow(mount: Cgroup2Mount, path: string): CgroupPlace {
  const root = levels(mount.root);
  const cgroup = levels(path);
  if (root.up > cgroup.up && root.down.length === 0) {
    return { state: "hidden", hidden: root.up - cgroup.up, tail: cgroup.down.map((name) => `/${name}`).join("") };
  }
  if (root.up !== cgroup.up || root.down.some((name, at) => cgroup.down[at] !== name)) return { state: "elsewhere" };
  return { state: "known", directory: join(mount.point, ...cgroup.down.slice(root.down.length)) };
}

export type OwnCgroup = { readonly mount: string; readonly directory: string };

/**
 * The directory of this process's own cgroup, in the mount that shows the most of the tree. A pod of Kubernetes has a cgroup
 * namespace of its own on cgroup v2, in which /proc/self/cgroup says "/": its directory in the node's tree is then found by the list
 * of processes.
 * @throws when no mount of cgroup v2 shows it
 */
export function ownCgroup({ mountinfo, procCgroup }: CgroupTexts, reader: CgroupReader): OwnCgroup {
  const path = cgroup2Path(procCgroup);
  if (path === undefined) throw new Error("this process has no cgroup of version 2: /proc/self/cgroup has no line 0::");
  const mounts = cgroup2Mounts(mountinfo);
  for (const mount of mounts) {
    const place = placeBelow(mount, path);
    if (place.state === "known" && reader.holdsUs(place.directory))
      return { mount: mount.point, directory: place.directory };
    const found = place.state === "hidden" ? searched(mount.point, place, reader) : undefined;
    if (found !== undefined) return { mount: mount.point, directory: found };
  }
  const where = mounts.length === 0 ? "it is not mounted" : `mounted at ${mounts.map(({ point }) => point).join(", ")}`;
  throw new Error(`this process's own cgroup (${path}) is not visible below any mount of cgroup v2: ${where}`);
}

/** Only directories at exactly the hidden depth are asked, those of pods first: a keeper in a namespace of its own is a pod. */
function searched(
  mount: string,
  { hidden, tail }: { readonly hidden: number; readonly tail: string },
  reader: CgroupReader,
): string | undefined {
  const stack: { readonly path: string; readonly depth: number }[] = [{ path: mount, depth: 0 }];
  for (let looked = 0; looked < MAX_DIRECTORIES; looked++) {
    const here = stack.pop();
    if (here === undefined) return undefined;
    if (here.depth === hidden) {
      if (reader.holdsUs(here.path + tail)) return here.path + tail;
      continue;
    }
    const names = reader.subdirectories(here.path);
    const ofPods = (name: string): boolean => name.includes("kubepods");
    // The last that is pushed is looked at first.
    for (const name of [...names.filter((name) => !ofPods(name)), ...names.filter(ofPods)])
      stack.push({ path: join(here.path, name), depth: here.depth + 1 });
  }
  return undefined;
}

/**
 * The kubelet's name for the cgroup above its pods: `kubepods` with the cgroupfs driver, `kubepods.slice` with the systemd driver, and
 * `a-b-kubepods.slice` with that driver and `--cgroup-root=/a/b` (kubernetes:pkg/kubelet/cm/cgroup_manager_linux.go, ToSystemd).
 */
export const isKubepods = (name: string): boolean => name === "kubepods" || /^(?:.+-)?kubepods\.slice$/.test(name);

export type PodsCgroup =
  | { readonly state: "found"; readonly directory: string }
  | { readonly state: "absent"; readonly looked: readonly string[] }
  | { readonly state: "several"; readonly directories: readonly string[] };

/**
 * The cgroup above all pods of this node. A keeper that is a pod takes the nearest one above itself, so that several nodes on one
 * machine, or a node inside a pod of another node, keep apart. Elsewhere the tree is searched, in directories of root's alone.
 */
export function podsCgroup(texts: CgroupTexts, reader: CgroupReader): PodsCgroup {
  const own = ownOrNone(texts, reader);
  const above = own && nearestKubepods(own);
  if (above !== undefined) return { state: "found", directory: above };
  const mounts = cgroup2Mounts(texts.mountinfo);
  const looked = mounts.map(({ point }) => point);
  for (const mount of looked) {
    const [directory, ...more] = kubepodsBelow(mount, reader);
    if (directory === undefined) continue;
    return more.length === 0 ? { state: "found", directory } : { state: "several", directories: [directory, ...more] };
  }
  return { state: "absent", looked };
}

function ownOrNone(texts: CgroupTexts, reader: CgroupReader): OwnCgroup | undefined {
  try {
    return ownCgroup(texts, reader);
  } catch {
    return undefined; // The tree is searched then.
  }
}

function nearestKubepods({ mount, directory }: OwnCgroup): string | undefined {
  const names = directory.slice(mount.length).split("/").filter(Boolean);
  const last = names.findLastIndex(isKubepods);
  return last === -1 ? undefined : join(mount, ...names.slice(0, last + 1));
}

/** Units are not looked into: what a service or a user's own manager makes below itself is no kubelet's. */
function kubepodsBelow(mount: string, { subdirectories, ownerOf }: CgroupReader): readonly string[] {
  const found: string[] = [];
  const queue: { readonly path: string; readonly depth: number }[] = [{ path: mount, depth: 0 }];
  for (let looked = 0; looked < queue.length && looked < MAX_DIRECTORIES; looked++) {
    const here = queue[looked];
    if (here === undefined) break;
    for (const name of subdirectories(here.path)) {
      const path = join(here.path, name);
      if (/\.(service|scope)$/.test(name) || ownerOf(path) !== 0) continue;
      if (isKubepods(name)) found.push(path);
      else if (here.depth + 1 < MAX_ROOT_DEPTH) queue.push({ path, depth: here.depth + 1 });
    }
  }
  return found;
}

/** @throws with what an operator can do, when no directory was found, or several */
export function foundPodsCgroup(found: PodsCgroup): string {
  if (found.state === "found") return found.directory;
  if (found.state === "several") {
    const which = found.directories.join(", ");
    throw new Error(
      `podsCgroup is auto, and there are several cgroups of pods (${which}): name one in spec.podsCgroup`,
    );
  }
  const where = found.looked.join(", ") || "no mount of cgroup v2";
  throw new Error(
    `podsCgroup is auto, and no kubepods cgroup is below ${where}: mount the node's tree, or name it there`,
  );
}
