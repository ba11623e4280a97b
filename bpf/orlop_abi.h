/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The one description of what kernel, C++ and TypeScript share: map keys and values, ring-buffer
 * records, counters. `make gen-check` turns it into agent/abi.ts; nobody retypes it.
 * Byte order: __be fields are wire order. Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d, so that
 * one form serves both families and a v4-mapped destination cannot be mistaken for an IPv6 address. */
#ifndef ORLOP_ABI_H
#define ORLOP_ABI_H

#ifdef __bpf__
#include <linux/types.h>
#else
#include <linux/types.h>
#endif

/* Names the pin directory (…/orlop/<node>/v4). A keeper takes over from another version by copying entries
 * (agent/keeper/takeover.ts), so from one version to the next the keys of the copied maps keep their size,
 * their values only grow at the end, and no number changes its meaning. */
#define ORLOP_ABI_VERSION   4
#define ORLOP_PORT_OUTBOUND 15001
#define ORLOP_PORT_INBOUND  15006
#define ORLOP_PORT_HBONE    15008
/* "or": steers the agent's dial to the app inside the pod; never trusted as identity. */
#define ORLOP_LOCAL_MARK 0x6f720000
/* On the listener of plaintext, so that sock_diag tells handshakes with it from those with the application. */
#define ORLOP_INBOUND_MARK 0x6f720001
/* The routing table that the mark selects inside a pod namespace. */
#define ORLOP_LOCAL_TABLE 28530
/* Where a captured connection meets the agent's listener: at an address of its own for each destination, so that one local
 * port may be used towards several, and ports run out for each destination alone. Out of 127.192.0.0/10, and out of
 * 100::/64, which no router forwards (RFC 6666). Host byte order; of IPv6 the first and the third word. */
#define ORLOP_SPREAD4	   0x7fc00000u
#define ORLOP_SPREAD4_MASK 0xffc00000u
#define ORLOP_SPREAD6	   0x01000000u

struct orlop_addr {
	__u8 bytes[16];
};

/* orlop_pod.flags */
#define ORLOP_POD_FAIL_DIRECT 1u /* unknown destination and no live agent: go direct; unset: refuse */
/* The pod's namespace has the route by which these addresses are its own, and by which a socket that is bound to no address
 * gets the pod's; of each family by itself. Unset: 127.0.0.1, ::1. */
#define ORLOP_POD_SPREAD4 2u
#define ORLOP_POD_SPREAD6 4u

/* pod_by_netns: __u64 network namespace cookie -> this. Written by the keeper. */
struct orlop_pod {
	__u32 pod_idx;
	__u32 flags;
	struct orlop_addr ip4; /* all zero: the pod has no IPv4 address */
	struct orlop_addr ip6;
};

/* pod_by_ip: struct orlop_addr -> this. Written by the keeper, read by sk_lookup, which cannot ask
 * for the namespace cookie. */
struct orlop_pod_ip {
	__u32 pod_idx;
	__u32 flags;
};

/* orlop_sock.flags */
#define ORLOP_SOCK_AGENT      1u   /* made by the keeper for the agent: never captured, always admitted */
#define ORLOP_SOCK_CAPTURED   2u   /* the connect hook rewrote the destination */
#define ORLOP_SOCK_OPENED     4u   /* an open event was sent, so a close event is owed */
#define ORLOP_SOCK_PASSIVE    8u   /* accepted, not dialled */
#define ORLOP_SOCK_DIALS_APP  16u  /* with AGENT: for the dial to an application; sk_lookup admits its flow */
#define ORLOP_SOCK_DIALLING   32u  /* its end before it is open is a failure */
#define ORLOP_SOCK_FROM_AGENT 64u  /* accepted from the agent, which counted this connection, too */
#define ORLOP_SOCK_JOINED     128u /* both ends are pods of this node, and nobody sits in between */
#define ORLOP_SOCK_OUTSIDE    256u /* went direct, since its destination was outside the mesh */
#define ORLOP_SOCK_NODE_DIAL  512u /* dialled by a program of the node that nodeAccess lets in */
#define ORLOP_SOCK_FROM_NODE  1024u /* accepted from such a program: neither judged nor read */

/* dst_of_sock: socket storage. Lives exactly as long as the socket. */
struct orlop_sock {
	struct orlop_addr dst; /* what the application dialled */
	__be16 dst_port;
	__u16 flags;
	__u32 pod_idx;
	__u64 opened_ns;
	/* JOINED only: where it really goes, and which pod that is. */
	struct orlop_addr to;
	__be16 to_port;
	__u16 pad;
	__u32 to_pod_idx;
	__u64 node_cgroup; /* NODE_DIAL and FROM_NODE: as orlop_node_flow.cgroup */
};

/* dst_of_flow: struct orlop_flow -> struct orlop_dst. sockops publishes it at TCP_CONNECT_CB, the
 * agent looks it up and deletes it once after accept. A miss resets the connection. */
struct orlop_flow {
	__u64 netns_cookie;
	struct orlop_addr src;
	__be16 src_port;
	__u16 pad;
	__be32 listener; /* the last four bytes of the address at which it meets the agent's listener */
};

struct orlop_dst {
	struct orlop_addr addr;
	__be16 port;
	__u16 pad;
	__u32 pod_idx;
	__u64 sock_cookie;
};

/* pending_flow: struct orlop_flow -> __u32 index of the pod. A captured connection that the agent's listener has not
 * established yet. Published at TCP_CONNECT_CB, removed when the agent's side is established or when the pod's
 * socket closes; from the first on the length of the listener's queue bounds them. */

/* pod_usage: array by pod index -> this. What one pod holds of the maps that all pods share. Index 0: packets for
 * no known pod. Written by sockops and connect, set to zero by the keeper when the index is given away. */
struct orlop_usage {
	__u32 flows;   /* entries of pending_flow */
	__u32 joined;  /* entries of joined_flow whose source it is */
	__u32 dials;   /* entries of agent_flow whose destination it is */
	__u32 traffic; /* rows of traffic */
	__u64 refused; /* connects refused because `flows` had reached its bound */
	__u64 events_lost;
	__u64 ring_mark; /* events are counted until the reader of the ring has passed this position */
	__u32 ring_events;
	__u32 node_dials; /* entries of node_flow whose destination it is */
};
/* The bounds: 1/32 of each map. */
#define ORLOP_POD_FLOWS	     2048u
#define ORLOP_POD_JOINED     512u
#define ORLOP_POD_DIALS	     512u
#define ORLOP_POD_NODE_DIALS 512u
#define ORLOP_POD_TRAFFIC    128u
/* While the ring of events is more than half full, one pod may have this part of it waiting: one eighth. */
#define ORLOP_POD_RING_SHARE 8u

/* agent_flow: this -> struct orlop_admitted. Connections the agent makes to an application; sk_lookup
 * admits exactly these, once. Published at TCP_CONNECT_CB, removed when the application's side is
 * established, or when the agent's socket closes without that. */
struct orlop_tuple {
	struct orlop_addr src;
	struct orlop_addr dst;
	__be16 src_port;
	__be16 dst_port;
	__u32 pad;
};

struct orlop_admitted {
	__u64 sock_cookie;
	__u32 pod_idx; /* of the destination */
	__u32 pad;
};

/* joined_flow: struct orlop_tuple -> this. A pod's connection to another pod of this node, judged by the
 * connect hook. sk_lookup admits exactly these, once. Published at TCP_CONNECT_CB, removed when the other
 * side is established, or when the dialling socket closes. */
struct orlop_joined {
	__u64 sock_cookie;
	__u32 src_pod_idx;
	__u32 dst_pod_idx;
};

/* node_access[0]: which programs of the node reach its pods past their policy. Written by the keeper. */
struct orlop_node_access {
	__u64
	    netns_cookie; /* of the node's own network namespace, where such a program dials; 0: nobody is let in */
	__u64
	    pods_cgroup; /* id of the cgroup of all pods, whose processes are never the node's; 0: not known apart */
	__u32 everybody; /* not 0: every process of that namespace outside pods_cgroup */
	__u32 pad;
};

/* node_cgroup: __u64 id of a cgroup -> __u32. The processes of exactly this cgroup, and of no cgroup below it, are let
 * in. Written by the keeper. Ids are never given twice. */

/* node_port: struct orlop_in_key -> __u32. Ports of a pod that programs of the node reach; port 0 is any. Written by
 * the agent. A miss: nobody of the node is let in. */

/* node_flow: struct orlop_tuple -> this. A connection that a program of the node makes to a pod; sk_lookup admits
 * exactly these, once. Published at TCP_CONNECT_CB, removed when the application's side is established, or when the
 * dialling socket closes; void when it is older than ORLOP_NODE_FLOW_NS, or when that program is let in no more. */
struct orlop_node_flow {
	__u64 sock_cookie;
	__u64 cgroup; /* by which it was let in; 0: by orlop_node_access.everybody */
	__u64 at_ns;  /* CLOCK_MONOTONIC */
	__u32 pod_idx;
	__u32 pad;
};
/* The SYN and its first four repetitions fall into this time. */
#define ORLOP_NODE_FLOW_NS 30000000000ull

/* What the kernel may answer alone. The agent writes every value, and the evaluator has said it. */

/* in_by_port: this -> __u32. port 0 is the pod's default. Written by the agent. A miss refuses. */
struct orlop_in_key {
	__u32 pod_idx;
	__be16 port;
	__u16 pad;
};
#define ORLOP_IN_REFUSE 1u /* STRICT: plaintext is refused */
#define ORLOP_IN_PASS	2u /* PERMISSIVE and no policy: straight to the application */
#define ORLOP_IN_AGENT	3u /* PERMISSIVE with policy: to the agent's :15006 */

/* out_by_dst: this -> __u32. The verdict is for the time in which the agent's heartbeat is late. In the other time
 * an entry says that the agent takes the connection, and a miss, while orlop_gate.mesh_written is set, that the
 * destination is outside the mesh. port 0 is any. */
struct orlop_out_key {
	struct orlop_addr dst;
	__be16 port;
	__u16 pad;
};
#define ORLOP_OUT_REFUSE 1u
#define ORLOP_OUT_DIRECT 2u
/* Beside REFUSE or DIRECT: of a virtual address, no endpoint of a Service answers for this port, or no Service has it; of
 * another address, several workloads claim it. With an agent alive the connection is refused at once, unless a pod of this
 * node has the address. */
#define ORLOP_OUT_UNANSWERED 4u

/* pair_verdict: this -> __u32. May a connection of one pod to a port of another, both captured on this node,
 * go there without the agent? port 0 is any. Written by the agent. A miss means that the agent takes it. */
struct orlop_pair_key {
	__u32 src_pod_idx;
	__u32 dst_pod_idx;
	__be16 port;
	__u16 pad;
};
#define ORLOP_PAIR_JOIN 1u /* it may */
#define ORLOP_PAIR_STAY 2u /* the agent takes new ones; those that stand may stay */
#define ORLOP_PAIR_END	3u /* the agent takes new ones, and refuses them; those that stand are ended */

/* vip_backends: this -> struct orlop_backends. Who answers one pod for a virtual address; there is an entry
 * only where all who may be chosen are pods of this node. The pair is judged beside it. Written by the agent.
 */
struct orlop_vip_key {
	struct orlop_addr vip;
	__u32 pod_idx;
	__be16 port;
	__u16 pad;
};

struct orlop_backend {
	struct orlop_addr addr;
	__be16 port;
	__u16 pad;
	__u32 share_end; /* sum of the weights up to and including this backend */
};

#define ORLOP_MAX_BACKENDS 16u
struct orlop_backends {
	__u32 count;
	__u32 shares; /* sum of all weights; 0: nobody */
	struct orlop_backend list[ORLOP_MAX_BACKENDS];
};

/* gate[0]. Both in nanoseconds of CLOCK_MONOTONIC. beat_ns is written by the agent. */
struct orlop_gate {
	__u64 beat_ns;
	__u64 limit_ns;
	/* Not 0: out_by_dst has every address of the mesh, workloads' and virtual ones, as far as the agent that beats
	 * knows it. Written by that agent, never by an older one's leave; the keeper writes 0 when it makes the map. */
	__u64 mesh_written;
};

/* inbound_socket: sockhash, this -> the keeper's listening socket. Written by the keeper. */
struct orlop_socket_key {
	__u32 pod_idx;
	__u16 family; /* 4 or 6 */
	__be16 port;  /* ORLOP_PORT_OUTBOUND, ORLOP_PORT_INBOUND or ORLOP_PORT_HBONE */
};

/* orlop_event.type */
#define ORLOP_EVENT_OPEN    1u /* an application connection that no agent sees was established */
#define ORLOP_EVENT_CLOSE   2u /* it ended; bytes, duration, RTT and retransmits are final */
#define ORLOP_EVENT_FAIL    3u /* SYN_SENT ended without ESTABLISHED */
#define ORLOP_EVENT_REFUSED 4u /* a hook refused; reason is a counter number below */
#define ORLOP_EVENT_DIRECT  5u /* let past the agent because it was not alive (PERMISSIVE) */

#define ORLOP_DIRECTION_OUT 1u
#define ORLOP_DIRECTION_IN  2u

struct orlop_event {
	__u64 at_ns; /* CLOCK_MONOTONIC */
	__u64 sock_cookie;
	__u64 sent_bytes;
	__u64 received_bytes;
	__u64 duration_ns;
	__u32 type;
	__u32 pod_idx;
	__u32 direction;
	__u32 flags; /* ORLOP_SOCK_* */
	__u32 reason;
	__u32 srtt_us;
	__u32 retransmits;
	__be16 src_port;
	__be16 dst_port;
	struct orlop_addr src;
	struct orlop_addr dst; /* what was dialled, not what it was rewritten to */
	struct orlop_addr to;  /* JOINED: where it really went */
	__be16 to_port;
	__u16 pad;
	__u32 to_pod_idx;
};

/* orlop_traffic_key.direction: ORLOP_DIRECTION_OUT or _IN, and the way where it is not straight to the peer: sums
 * of the three ways are kept apart. With the agent in between, RTT and retransmits are of the hop in the pod. */
#define ORLOP_TRAFFIC_AGENT  4u /* the agent sits in between */
#define ORLOP_TRAFFIC_JOINED 8u /* both ends are pods of this node, and nobody sits in between */

/* traffic: per-CPU hash, this -> struct orlop_traffic. Sums for one pod, direction, way and service port. Port 0: the
 * ports that came after the pod had ORLOP_POD_TRAFFIC rows. */
struct orlop_traffic_key {
	__u32 pod_idx;
	__u16 direction;
	__be16 port;
};

struct orlop_traffic {
	__u64 opened;
	__u64 closed;
	__u64 failed;
	__u64 sent_bytes;
	__u64 received_bytes;
	__u64 duration_ns;
	__u64 srtt_us_sum; /* over closed connections: divide by closed */
	__u64 retransmits;
};

/* counters: per-CPU array of __u64, indexed by this. */
enum orlop_counter {
	ORLOP_COUNT_CONNECT_CAPTURED,
	ORLOP_COUNT_CONNECT_NOT_ENROLLED,
	ORLOP_COUNT_CONNECT_LOCAL, /* loopback or the pod's own address: never captured */
	ORLOP_COUNT_CONNECT_AGENT_SOCKET,
	ORLOP_COUNT_CONNECT_DIRECT_NO_AGENT, /* PERMISSIVE destination while the agent is not alive */
	ORLOP_COUNT_CONNECT_REFUSED_NO_AGENT,
	ORLOP_COUNT_CONNECT_REFUSED_NO_STORAGE,
	ORLOP_COUNT_CONNECT_REFUSED_PORT, /* a port of Orlop's own on another address */
	ORLOP_COUNT_CONNECT_NO_FAMILY,	  /* no address of the pod's fits: family, link-local, device */
	ORLOP_COUNT_FLOW_PUBLISHED,
	ORLOP_COUNT_FLOW_MAP_FULL,
	ORLOP_COUNT_AGENT_FLOW_PUBLISHED,
	ORLOP_COUNT_AGENT_FLOW_MAP_FULL,
	ORLOP_COUNT_IN_AGENT_FLOW,
	ORLOP_COUNT_IN_LOCAL,
	ORLOP_COUNT_IN_HBONE,
	ORLOP_COUNT_IN_PASSED,
	ORLOP_COUNT_IN_TO_AGENT,
	ORLOP_COUNT_IN_REFUSED_STRICT,
	ORLOP_COUNT_IN_REFUSED_UNKNOWN, /* no entry for this address or pod: refuses */
	ORLOP_COUNT_IN_REFUSED_PORT,	/* :15001 or :15006 dialled from outside */
	ORLOP_COUNT_IN_REFUSED_NO_LISTENER,
	ORLOP_COUNT_EVENT_DROPPED, /* ring buffer full */
	ORLOP_COUNT_TRAFFIC_MAP_FULL,
	ORLOP_COUNT_CONNECT_JOINED, /* straight to another pod of this node */
	ORLOP_COUNT_JOIN_WITHDRAWN, /* no longer allowed by the time it dialled: judged as plaintext */
	ORLOP_COUNT_JOINED_MAP_FULL,
	ORLOP_COUNT_IN_JOINED,
	ORLOP_COUNT_CONNECT_REFUSED_BUDGET, /* the pod has too many connections that are not established yet */
	ORLOP_COUNT_JOINED_BUDGET,	    /* captured instead of joined: the pod's share is used up */
	ORLOP_COUNT_AGENT_FLOW_BUDGET,
	ORLOP_COUNT_CONNECT_OUTSIDE,	 /* straight to a destination outside the mesh */
	ORLOP_COUNT_NODE_FLOW_PUBLISHED, /* a program of the node dials a pod past its policy */
	ORLOP_COUNT_NODE_FLOW_MAP_FULL,
	ORLOP_COUNT_NODE_FLOW_BUDGET, /* judged as plaintext: the pod's part is used up */
	ORLOP_COUNT_IN_NODE_ACCESS,
	ORLOP_COUNT_CONNECT_UNANSWERED, /* nobody answers there, or nobody can tell who would */
	ORLOP_COUNT_PENDING_CONNECT, /* an expected pod dialled before its namespace had a guard: refused */
	ORLOP_COUNT_PENDING_PACKET,  /* a packet of it, either way: dropped */
	ORLOP_COUNT_MAX,
};

#endif
