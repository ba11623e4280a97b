// test box · addresses and links of a cluster in a box. Pure: it writes the `ip -batch` lines, others run them.

/** Both families of one interface, canonical text, no prefix length. */
export type Addresses = { readonly ip4: string; readonly ip6: string };

/**
 * The plan. Nothing of it touches the machine's own network: the wire is a namespace too, so any number of clusters may
 * use the same addresses at the same time. IPv6 is ULA (RFC 4193), IPv4 from RFC 1918.
 *
 *   wire      10.90.0.0/24   fd90:0:0:0::/64   node n is .n, the host outside the mesh is .200
 *   node n    10.90.n.0/24   fd90:0:0:n::/64   the node is .1, pod p is .(10+p)
 *   services  10.96.0.0/16   fd96::/64
 */
export const wireAddresses = (node: number): Addresses => ({
  ip4: `10.90.0.${node}`,
  ip6: `fd90::${node.toString(16)}`,
});
export const outsideAddresses: Addresses = { ip4: "10.90.0.200", ip6: "fd90::c8" };
export const gatewayAddresses = (node: number): Addresses => ({
  ip4: `10.90.${node}.1`,
  ip6: `fd90:0:0:${node.toString(16)}::1`,
});
export const podAddresses = (node: number, pod: number): Addresses => ({
  ip4: `10.90.${node}.${10 + pod}`,
  ip6: `fd90:0:0:${node.toString(16)}::${(0x10 + pod).toString(16)}`,
});
export const serviceAddresses = (index: number): Addresses => ({
  ip4: `10.96.0.${index}`,
  ip6: `fd96::${index.toString(16)}`,
});

/** In any namespace: a veth whose two ends appear in the namespaces of two processes. */
export function vethLine(a: { pid: number; name: string }, b: { pid: number; name: string }): string {
  return `link add name ${a.name} netns ${a.pid} type veth peer name ${b.name} netns ${b.pid}`;
}

/** The kernel would do it when its link watch comes round, up to a second later; frames until then are lost. */
const forwarding = (port: string): string => `link set ${port} type bridge_slave state 3`;

/** In the wire's namespace: one bridge that all nodes and the outside host hang on. */
export function wireLines(ports: readonly string[]): string[] {
  return [
    "link set lo up",
    "link add wire type bridge stp_state 0 mcast_snooping 0",
    ...ports.flatMap((port) => [`link set ${port} master wire`, `link set ${port} up`]),
    "link set wire up",
    ...ports.map(forwarding),
  ];
}

/** In a node's namespace: `eth0` to the wire, `pods` for its pods, a route to each other node's pods. */
export function nodeLines(node: number, nodes: number, podPorts: readonly string[]): string[] {
  const own = wireAddresses(node);
  const gateway = gatewayAddresses(node);
  const lines = [
    "link set lo up",
    `addr add ${own.ip4}/24 dev eth0`,
    `addr add ${own.ip6}/64 dev eth0 nodad`,
    "link set eth0 up",
    // Without an address of its own a bridge takes the lowest of its ports', and another one when a pod leaves.
    `link add pods address 02:91:00:00:00:${node.toString(16).padStart(2, "0")} type bridge stp_state 0 mcast_snooping 0`,
    `addr add ${gateway.ip4}/24 dev pods`,
    `addr add ${gateway.ip6}/64 dev pods nodad`,
    ...podPorts.flatMap((port) => [`link set ${port} master pods`, `link set ${port} up`]),
    "link set pods up",
    ...podPorts.map(forwarding),
  ];
  for (let peer = 1; peer <= nodes; peer += 1) {
    if (peer === node) continue;
    const via = wireAddresses(peer);
    lines.push(`route add 10.90.${peer}.0/24 via ${via.ip4}`);
    lines.push(`route add fd90:0:0:${peer.toString(16)}::/64 via ${via.ip6}`);
  }
  return lines;
}

export function podLines(node: number, pod: number): string[] {
  const own = podAddresses(node, pod);
  const gateway = gatewayAddresses(node);
  return [
    "link set lo up",
    `addr add ${own.ip4}/24 dev eth0`,
    `addr add ${own.ip6}/64 dev eth0 nodad`,
    "link set eth0 up",
    `route add default via ${gateway.ip4}`,
    `route add default via ${gateway.ip6}`,
  ];
}

/** The host outside the mesh: on the wire, knowing the way back to every pod. */
export function outsideLines(nodes: number): string[] {
  const lines = [
    "link set lo up",
    `addr add ${outsideAddresses.ip4}/24 dev eth0`,
    `addr add ${outsideAddresses.ip6}/64 dev eth0 nodad`,
    "link set eth0 up",
  ];
  for (let node = 1; node <= nodes; node += 1) {
    const via = wireAddresses(node);
    lines.push(`route add 10.90.${node}.0/24 via ${via.ip4}`);
    lines.push(`route add fd90:0:0:${node.toString(16)}::/64 via ${via.ip6}`);
  }
  return lines;
}
