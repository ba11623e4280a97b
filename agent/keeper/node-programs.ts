// keeper · which programs of the node may reach its pods past their policy: is this process the kubelet, and does this directory
// belong to pods? Pure: what /proc and the cgroup tree say is handed in.
import { looksLikePod, type NamespaceId, type ProcessId, sameNamespace } from "./pods.ts";

/**
 * What /proc/<pid>/comm says of a process that runs the kubelet. k3s, rke2, k0s and kubelite (MicroK8s) have it inside themselves or
 * as a child of their own.
 */
export const KUBELET_NAMES = ["kubelet", "k3s", "k3s-server", "k3s-agent", "rke2", "k0s", "kubelite"] as const;
/** Of these the API server is a part: with the kubelet it is let in, too. */
const WITH_API_SERVER: readonly string[] = ["k3s", "k3s-server", "k0s", "kubelite"];

export const isKubeletName = (name: string): boolean => (KUBELET_NAMES as readonly string[]).includes(name);

export type NodeProcess = {
  readonly process: ProcessId;
  readonly name: string;
  /** Real and effective, of the user namespace that the keeper is in. */
  readonly uids: readonly [real: number, effective: number];
  readonly netns: NamespaceId;
  /** Its directory in a mount of cgroup v2. */
  readonly cgroup: string;
};

export type CgroupTree = {
  /** Where cgroup v2 is mounted. */
  readonly mount: string;
  readonly podsCgroup: string;
};

/** With the root of the tree as the pods' cgroup, as on a plain machine, a pod is known by the name of its directory. */
export function isInPods(directory: string, { mount, podsCgroup }: CgroupTree): boolean {
  if (podsCgroup !== mount) return isBelow(directory, podsCgroup);
  return directory.slice(mount.length).split("/").some(looksLikePod);
}

const isBelow = (path: string, root: string): boolean => path === root || path.startsWith(`${root}/`);

export type Kubelet =
  | { readonly state: "found"; readonly process: NodeProcess }
  | { readonly state: "absent" }
  /** In more than one cgroup: nobody can say which is the node's. */
  | { readonly state: "several"; readonly processes: readonly NodeProcess[] };

/**
 * The process by whose cgroup the kubelet is let in. Processes of a single cgroup count together: rke2 runs the kubelet as a child, and a
 * program that is about to start another carries its parent's name for a moment.
 * @param nodeNetns the network namespace of pid 1
 */
export function kubeletAmong(processes: readonly NodeProcess[], nodeNetns: NamespaceId, tree: CgroupTree): Kubelet {
  const able = processes.filter(
    ({ name, uids, netns, cgroup }) =>
      isKubeletName(name) &&
      uids.every((uid) => uid === 0) &&
      sameNamespace(netns, nodeNetns) &&
      !isInPods(cgroup, tree),
  );
  const byCgroup = new Map<string, NodeProcess>();
  for (const process of able.toSorted(byAge)) {
    if (!byCgroup.has(process.cgroup)) byCgroup.set(process.cgroup, process);
  }
  const found = [...byCgroup.values()];
  const [first, second] = found;
  if (first === undefined) return { state: "absent" };
  return second === undefined ? { state: "found", process: first } : { state: "several", processes: found };
}

function byAge({ process: one }: NodeProcess, { process: other }: NodeProcess): number {
  return one.startTicks < other.startTicks ? -1 : one.startTicks > other.startTicks ? 1 : one.pid - other.pid;
}

export const sharesApiServer = (name: string): boolean => WITH_API_SERVER.includes(name);

export const processText = ({ name, process, cgroup }: NodeProcess): string =>
  `${name} (pid ${process.pid}, ${cgroup})`;
