// test cluster · the shell scripts that make the namespaces of control plane and nodes from within. Pure.
import path from "node:path";
import type { ClusterPlan, NodePlan } from "./plan.ts";

/** A mounted cgroup hierarchy of the machine: cgroup v2, or a v1 controller. */
export type Hierarchy = { readonly point: string; readonly version: 1 | 2 };

/** Directory of a part of the cluster in one hierarchy. */
export const cgroupOf = (hierarchy: Hierarchy, plan: ClusterPlan, part = ""): string =>
  path.join(hierarchy.point, plan.cgroup, part);

/** kubelet wants these values. It sees copies: the machine's own are not changed. */
const wantedSysctls = {
  "vm/overcommit_memory": "1",
  "vm/panic_on_oom": "0",
  "kernel/panic": "10",
  "kernel/panic_on_oops": "1",
  "kernel/keys/root_maxkeys": "1000000",
  "kernel/keys/root_maxbytes": "25000000",
} as const;

/** Duplicate address detection would hold up the first second of every address; here all of them are ours. */
const NO_DAD = 'for dad in /proc/sys/net/ipv6/conf/*/accept_dad; do echo 0 > "$dad"; done';
const FORWARD = "echo 1 > /proc/sys/net/ipv4/ip_forward\necho 1 > /proc/sys/net/ipv6/conf/all/forwarding";

/** Joins the cgroups, then runs its arguments. The cpuset of a new v1 directory is empty and would take no process. */
export function joinScript(hierarchies: readonly Hierarchy[], plan: ClusterPlan, part: string): string {
  return [
    "set -e",
    ...hierarchies.map((hierarchy) => `echo $$ > '${cgroupOf(hierarchy, plan, part)}/cgroup.procs'`),
    'exec "$@"',
  ].join("\n");
}

export const enterArgv = (pid: number, mounts: boolean): readonly string[] => [
  ...["nsenter", "--target", String(pid), "--net", ...(mounts ? ["--mount", "--cgroup", "--pid"] : []), "--"],
];

/** Run in the control plane's network namespace once the nodes' links are in it: a bridge that all nodes hang on. */
export function controlScript(plan: ClusterPlan): string {
  const { ip4, ip6 } = plan.control;
  const lines = [
    "link set lo up",
    "link add wire type bridge stp_state 0 mcast_snooping 0",
    ...plan.nodes.flatMap(({ name }) => [`link set ${name} master wire`, `link set ${name} up`]),
    `addr add ${ip4}/24 dev wire`,
    `addr add ${ip6}/64 dev wire nodad`,
    "link set wire up",
    ...plan.nodes.flatMap(podRoutes),
    `route add default via ${plan.nodes[0]?.addresses.ip4}`,
  ];
  return `${NO_DAD}\n${FORWARD}\n${batch(lines)}`;
}

/** Run in the node's namespaces, whose mounts are private by then. */
export function nodeScript(plan: ClusterPlan, node: NodePlan, hierarchies: readonly Hierarchy[]): string {
  const lines = [
    "link set lo up",
    `addr add ${node.addresses.ip4}/24 dev eth0`,
    `addr add ${node.addresses.ip6}/64 dev eth0 nodad`,
    "link set eth0 up",
    ...plan.nodes.filter((other) => other.index !== node.index).flatMap(podRoutes),
    `route add default via ${plan.control.ip4}`,
    `-6 route add default via ${plan.control.ip6}`,
  ];
  // The node sees its own directory of every hierarchy as the root, and no other mount of it: programs take the first that they
  // find. The mounts wait elsewhere until the machine's /sys is gone.
  const mounts = hierarchies.map((hierarchy) => ({
    from: cgroupOf(hierarchy, plan, node.name),
    kept: path.join(node.dir, "cgroup", path.relative("/sys/fs/cgroup", hierarchy.point)),
    at: hierarchy.point,
  }));
  const isHybrid = hierarchies.every(({ point }) => point !== "/sys/fs/cgroup");
  const cgroups = [
    ...mounts.flatMap(({ from, kept }) => [`mkdir -p '${kept}'`, `mount --bind '${from}' '${kept}'`]),
    "umount --recursive --lazy /sys",
    "mount -t sysfs sysfs /sys",
    ...(isHybrid ? ["mount -t tmpfs tmpfs /sys/fs/cgroup"] : []),
    ...mounts.flatMap(({ kept, at }) => [...(isHybrid ? [`mkdir '${at}'`] : []), `mount --move '${kept}' '${at}'`]),
    // What the node's programs pin goes with the node.
    "mount -t bpf bpf /sys/fs/bpf",
  ];
  const own = [
    ...["/run", "/var/log"].flatMap((dir) => [
      `mkdir -p '${node.dir}${dir}'`,
      `mount --bind '${node.dir}${dir}' ${dir}`,
    ]),
    // Images lie here: in memory they are gone with the node, where a disk would take half a minute to delete them.
    "mount -t tmpfs -o mode=755 tmpfs /var/lib",
  ];
  const sysctls = Object.entries(wantedSysctls).flatMap(([key, value]) => {
    const copy = path.join(node.dir, "sysctl", key);
    return [`mkdir -p '${path.dirname(copy)}'`, `echo ${value} > '${copy}'`, `mount --bind '${copy}' /proc/sys/${key}`];
  });
  return [
    "set -e",
    ...cgroups,
    ...own,
    "mkdir -p /run/netns /var/lib/kubelet /var/lib/cni",
    ...sysctls,
    NO_DAD,
    FORWARD,
    batch(lines),
    // containerd and kubelet pass mounts to each other and to pods: one peer group, which ends at this namespace.
    "mount --make-rshared /",
  ].join("\n");
}

const podRoutes = ({ addresses, pods }: NodePlan): string[] => [
  `route add ${pods.ip4} via ${addresses.ip4}`,
  `-6 route add ${pods.ip6} via ${addresses.ip6}`,
];

/** `ip -batch` takes the family of a line only as its option, so each family has a run of its own. */
function batch(lines: readonly string[]): string {
  const six = lines.filter((line) => line.startsWith("-6 "));
  const four = lines.filter((line) => !line.startsWith("-6 "));
  const run = (option: string, all: readonly string[]): string =>
    all.length === 0 ? "" : `ip ${option} -batch - <<'LINES'\n${all.join("\n")}\nLINES`;
  return [
    run("", four),
    run(
      "-6",
      six.map((line) => line.slice(3)),
    ),
  ]
    .filter((text) => text !== "")
    .join("\n");
}
