// keeper · where a process that connects runs. The agent's user alone proves little: who may write a pod may write that user into it. So the
// process must also run beside the keeper, as under `orlop run`, or in a container that was given the keeper's directory as a mount of its
// own, as the agent's pod is. A process that sees the directory below a mount of something else can make itself neither without root.
import { closeSync, openSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { cgroup2Path } from "../process/cgroup-tree.ts";
import { type Mount, parseMountinfo } from "../process/mounts.ts";

/** Namespaces as /proc/<pid>/ns names them (namespaces(7)), and the mounts that the process sees. */
export type PlaceView = {
  readonly user: string;
  readonly mounts: string;
  readonly network: string;
  readonly mountinfo: string;
};
/** The keeper's own namespaces, and what its directory is on the node. */
export type KeeperPlace = Pick<PlaceView, "user" | "mounts" | "network"> & { readonly directory: SharedDirectory };
/** A directory of a file system, and the path at which a container is to see it. */
type SharedDirectory = Pick<Mount, "device" | "root" | "point">;

/**
 * Pure: why a process is not the agent, by where it runs; undefined: nothing speaks against it.
 * @param peer undefined: the process has gone, or is hidden from the keeper
 */
export function whyElsewhere(keeper: KeeperPlace, peer: PlaceView | undefined): string | undefined {
  if (peer === undefined) return "where it runs cannot be seen";
  // There it could be root, and mount what it likes.
  if (peer.user !== keeper.user) return "it is in another user namespace";
  if (peer.mounts === keeper.mounts)
    return peer.network === keeper.network ? undefined : "it runs beside the keeper, in another network namespace";
  const { device, root, point } = keeper.directory;
  const seen = parseMountinfo(peer.mountinfo).findLast((mount) => mount.point === point);
  if (seen?.device === device && seen.root === root) return undefined;
  return "it is in a container that was not given the keeper's directory";
}

/**
 * Pure: what a directory is on the node, as the mount says that it lies on.
 * @param mountId of /proc/self/fdinfo
 * @param path without symbolic links
 * @throws when the directory does not lie on that mount
 */
export function sharedDirectory(mountinfo: string, mountId: number, path: string): SharedDirectory {
  const mount = parseMountinfo(mountinfo).find(({ id }) => id === mountId);
  const above = mount?.point.replace(/\/$/, "");
  if (mount === undefined || above === undefined || (path !== above && !path.startsWith(`${above}/`)))
    throw new Error(`${path} lies on no mount that the keeper sees`);
  return { device: mount.device, root: join(mount.root, path.slice(above.length)), point: path };
}

/** Asked once, of a directory that root alone may exchange. @throws the file system's errors */
export function keeperPlace(directory: string): KeeperPlace {
  const own = viewOf("self");
  if (own === undefined) throw new Error("/proc says nothing of the keeper itself");
  const fd = openSync(directory, "r");
  try {
    const mountId = Number(/^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1]);
    const path = readlinkSync(`/proc/self/fd/${fd}`);
    return { ...own, directory: sharedDirectory(own.mountinfo, mountId, path) };
  } finally {
    closeSync(fd);
  }
}

export type PeerPlace = {
  /** Why the process is not the agent. */
  readonly elsewhere: string | undefined;
  /** For an operator: by it a container is found. Empty: it has none that can be seen. */
  readonly cgroup: string;
};

/** Looks at a process. What it answers is of the process that has this pid by now. */
export function peerPlace(keeper: KeeperPlace, pid: number): PeerPlace {
  const cgroup = cgroup2Path(textOf(() => readFileSync(`/proc/${pid}/cgroup`, "utf8")) ?? "") ?? "";
  return { elsewhere: whyElsewhere(keeper, pid > 0 ? viewOf(pid) : undefined), cgroup };
}

function viewOf(pid: number | "self"): PlaceView | undefined {
  const namespace = (name: string) => textOf(() => readlinkSync(`/proc/${pid}/ns/${name}`));
  const [user, mounts, network] = [namespace("user"), namespace("mnt"), namespace("net")];
  const mountinfo = textOf(() => readFileSync(`/proc/${pid}/mountinfo`, "utf8"));
  if (user === undefined || mounts === undefined || network === undefined || mountinfo === undefined) return undefined;
  return { user, mounts, network, mountinfo };
}

/** Undefined, whatever the reason: what cannot be read speaks against the process. */
function textOf(read: () => string): string | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
