// test cluster · names, addresses and folders of a Kubernetes cluster on this machine. Pure.
import path from "node:path";
import type { Addresses } from "../box/network.ts";

export type NodePlan = {
  readonly name: string;
  /** Counts from 1. */
  readonly index: number;
  /** On the wire between the nodes. */
  readonly addresses: Addresses;
  /** Subnets of its pods with prefix lengths. */
  readonly pods: Addresses;
  /** What this node writes: its /run, /var/log and its configuration. Its /var/lib is in memory. */
  readonly dir: string;
};

export type ClusterPlan = {
  readonly name: string;
  readonly dir: string;
  /** Name of the cluster's directory in every cgroup hierarchy. */
  readonly cgroup: string;
  /** etcd, API server, controller manager and scheduler. */
  readonly control: Addresses;
  readonly nodes: readonly NodePlan[];
};

export const API_PORT = 6443;
export const ETCD_PORT = 2379;
/** Sandbox and application of every pod: the only image that the nodes have. */
export const POD_IMAGE = "orlop.test/pod:1";
/** IPv4 and IPv6 ranges of Services, and the first address of each, which is the API server's own Service. */
export const services = { ranges: "10.96.0.0/16,fd96::/108", first: { ip4: "10.96.0.1", ip6: "fd96::1" } } as const;

const ROOT = "/var/cache/orlop-cluster";
const MAX_NODES = 9;

/**
 * The wire is 10.97.0.0/24 and fd97::/64: the control plane is .1, node n is .(10+n). Pods of node n are in 10.98.n.0/24 and
 * fd98:0:0:n::/64. All of it lies in namespaces, so clusters of different names may run side by side.
 * @throws Error for a name that is no plain word of at most 20 characters, or a count outside 1 to 9
 */
export function planCluster(name: string, nodes: number): ClusterPlan {
  if (!/^[a-z0-9][a-z0-9-]{0,19}$/.test(name)) throw new Error(`not a name of a cluster: ${JSON.stringify(name)}`);
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > MAX_NODES) throw new Error(`1 to ${MAX_NODES} nodes: ${nodes}`);
  const dir = path.join(ROOT, name);
  return {
    name,
    dir,
    cgroup: `orlop-cluster-${name}`,
    control: { ip4: "10.97.0.1", ip6: "fd97::1" },
    nodes: Array.from({ length: nodes }, (_, at) => {
      const index = at + 1;
      return {
        name: `node-${index}`,
        index,
        addresses: { ip4: `10.97.0.${10 + index}`, ip6: `fd97::${(16 + index).toString(16)}` },
        pods: { ip4: `10.98.${index}.0/24`, ip6: `fd98:0:0:${index}::/64` },
        dir: path.join(dir, `node-${index}`),
      };
    }),
  };
}

export const kubeconfigOf = (plan: ClusterPlan): string => path.join(plan.dir, "kubeconfig");
export const pkiOf = (plan: ClusterPlan): string => path.join(plan.dir, "pki");
/** The kubelet of the node starts each pod that a file in here describes, without the API. */
export const staticPodsOf = (node: NodePlan): string => path.join(node.dir, "static-pods");
export const logOf = (plan: ClusterPlan, program: string): string => path.join(plan.dir, "log", `${program}.log`);
