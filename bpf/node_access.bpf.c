/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Programs of the node, kubelet with its probes first of all, that connect to pods of this node. Attached to the cgroup
 * of each such program, or to the root of all cgroups when every process of the node is let in. The connect hooks mark
 * the socket of a program that is let in, and sockops publishes its exact flow before the SYN leaves; sk_lookup admits
 * that flow, once. No hook here refuses or changes a connection: what is not published is judged as plaintext. May
 * be attached at two nested cgroups, so every step may be repeated. */
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "addr.bpf.h"
#include "count.bpf.h"
#include "ends.bpf.h"
#include "gate.bpf.h"
#include "maps.bpf.h"
#include "node_access.bpf.h"

#define SOCK_STREAM    1
#define PROTOCOL_MPTCP 262
/* Cgroups below cgroups; a process that lies deeper counts as a pod's. */
#define MAX_CGROUP_DEPTH 16

static __always_inline int is_in_pods(__u64 pods_cgroup)
{
	if (pods_cgroup == 0)
		return 0;
#pragma unroll
	for (__u32 level = 0; level < MAX_CGROUP_DEPTH; level++) {
		__u64 id = bpf_get_current_ancestor_cgroup_id(level);

		if (id == 0)
			return 0;
		if (id == pods_cgroup)
			return 1;
	}
	return 1;
}

/* Whether the process that is connecting is let in, and by which cgroup; 0: by being of the node. It is the process
 * that counts and not the maker of the socket: a child cgroup with a socket of its parent's is not let in. */
static __always_inline int is_let_in(struct bpf_sock_addr *ctx, __u64 *cgroup)
{
	struct orlop_node_access *access = node_access_on();
	__u64 current = bpf_get_current_cgroup_id();

	if (!access || bpf_get_netns_cookie(ctx) != access->netns_cookie)
		return 0;
	if (bpf_map_lookup_elem(&node_cgroup, &current))
		*cgroup = current;
	else if (access->everybody)
		*cgroup = 0;
	else
		return 0;
	return !is_in_pods(access->pods_cgroup);
}

static __always_inline int mark(struct bpf_sock_addr *ctx, const struct orlop_addr *dst)
{
	struct bpf_sock *sk = ctx->sk;
	__u32 protocol = ctx->protocol;
	struct orlop_sock *sock;
	__u64 cgroup = 0;

	if (ctx->type != SOCK_STREAM || (protocol != IPPROTO_TCP && protocol != PROTOCOL_MPTCP) || !sk)
		return CONNECT_GO;
	/* Whatever an earlier call on this socket was, this one is judged anew. */
	sock = bpf_sk_storage_get(&dst_of_sock, sk, 0, 0);
	if (sock)
		sock->flags &= ~ORLOP_SOCK_NODE_DIAL;
	if (!bpf_map_lookup_elem(&pod_by_ip, dst) || !is_let_in(ctx, &cgroup))
		return CONNECT_GO;
	sock = bpf_sk_storage_get(&dst_of_sock, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	/* The agent's own dials are let in by agent_flow. */
	if (!sock || sock->flags & ORLOP_SOCK_AGENT)
		return CONNECT_GO;
	sock->flags |= ORLOP_SOCK_NODE_DIAL;
	sock->node_cgroup = cgroup;
	return CONNECT_GO;
}

SEC("cgroup/connect4")
int orlop_node_connect4(struct bpf_sock_addr *ctx)
{
	struct orlop_addr dst = addr_from4(CTX(ctx, user_ip4));

	return mark(ctx, &dst);
}

SEC("cgroup/connect6")
int orlop_node_connect6(struct bpf_sock_addr *ctx)
{
	struct orlop_addr dst = addr_from6(CTX(ctx, user_ip6[0]), CTX(ctx, user_ip6[1]),
					   CTX(ctx, user_ip6[2]), CTX(ctx, user_ip6[3]));

	return mark(ctx, &dst);
}

/* The SYN is about to leave; both ends are known. */
static __always_inline void publish(struct bpf_sock_ops *ctx, const struct orlop_sock *sock)
{
	struct orlop_node_flow flow = {
	    .sock_cookie = bpf_get_socket_cookie(ctx),
	    .cgroup = sock->node_cgroup,
	    .at_ns = bpf_ktime_get_ns(),
	};
	struct orlop_usage *usage;
	struct orlop_tuple tuple;
	struct orlop_pod_ip *pod;
	struct ends e;
	__u64 before;

	read_ends(ctx, &e);
	pod = bpf_map_lookup_elem(&pod_by_ip, &e.remote);
	if (!pod || !node_port_open(pod->pod_idx, e.remote_port))
		return;
	flow.pod_idx = pod->pod_idx;
	usage = usage_of(flow.pod_idx);
	if (!usage || AT_BOUND(usage->node_dials, ORLOP_POD_NODE_DIALS)) {
		count(ORLOP_COUNT_NODE_FLOW_BUDGET);
		return;
	}
	fill_tuple(&tuple, &e.local, e.local_port, &e.remote, e.remote_port);
	withdraw_node_flow(&tuple, 0, &before);
	if (bpf_map_update_elem(&node_flow, &tuple, &flow, BPF_NOEXIST)) {
		count(ORLOP_COUNT_NODE_FLOW_MAP_FULL);
		return;
	}
	TAKE(usage->node_dials);
	count(ORLOP_COUNT_NODE_FLOW_PUBLISHED);
	watch_states(ctx);
}

/* The application's side has removed the entry if it accepted; nobody may use that of a connection that has ended. */
static __always_inline void withdraw(struct bpf_sock_ops *ctx)
{
	struct orlop_tuple tuple;
	struct ends e;
	__u64 cgroup;

	read_ends(ctx, &e);
	fill_tuple(&tuple, &e.local, e.local_port, &e.remote, e.remote_port);
	withdraw_node_flow(&tuple, bpf_get_socket_cookie(ctx), &cgroup);
}

SEC("sockops")
int orlop_node_sockops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct orlop_sock *sock;

	if (!sk || (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB && ctx->op != BPF_SOCK_OPS_STATE_CB))
		return OPS_OK;
	sock = bpf_sk_storage_get(&dst_of_sock, sk, 0, 0);
	if (!sock || !(sock->flags & ORLOP_SOCK_NODE_DIAL))
		return OPS_OK;
	if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		publish(ctx, sock);
	else if (ctx->args[1] == BPF_TCP_CLOSE)
		withdraw(ctx);
	return OPS_OK;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
