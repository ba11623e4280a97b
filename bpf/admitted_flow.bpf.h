/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* 2 · Connections that sk_lookup lets in, once, by their exact tuple: the agent's dial to an application, and a pod's
 * connection to another pod of this node. What is not announced is judged as plaintext. */
#ifndef ORLOP_ADMITTED_FLOW_BPF_H
#define ORLOP_ADMITTED_FLOW_BPF_H

#include <bpf/bpf_helpers.h>
#include "addr.bpf.h"
#include "count.bpf.h"
#include "ends.bpf.h"
#include "maps.bpf.h"
#include "same_node.bpf.h"
#include "usage.bpf.h"

/* Of a tuple that was just found announced by that pod. 0: somebody else has withdrawn it meanwhile. */
static __always_inline int withdraw_announced(const struct orlop_tuple *tuple, __u32 src_pod_idx)
{
	struct orlop_usage *usage = usage_of(src_pod_idx);

	if (!usage || bpf_map_delete_elem(&joined_flow, tuple))
		return 0;
	RETURN(usage->joined);
	return 1;
}

/* 0: there was no such entry. */
static __always_inline int withdraw_announcement(const struct orlop_tuple *tuple)
{
	struct orlop_joined *joined = bpf_map_lookup_elem(&joined_flow, tuple);

	return joined && withdraw_announced(tuple, joined->src_pod_idx);
}

/* Judged once more: the socket can be found by who ends connections from here on, so that a verdict which
 * goes between the hook and this moment leaves none behind. Without an announcement it
 * is plaintext to sk_lookup. */
static __always_inline void announce(struct bpf_sock_ops *ctx, struct orlop_sock *sock, const struct ends *e)
{
	struct orlop_pod_ip *from = bpf_map_lookup_elem(&pod_by_ip, &e->local);
	struct orlop_joined joined = {
	    .sock_cookie = bpf_get_socket_cookie(ctx),
	    .src_pod_idx = sock->pod_idx,
	    .dst_pod_idx = sock->to_pod_idx,
	};
	struct orlop_usage *usage = usage_of(sock->pod_idx);
	struct orlop_tuple tuple;

	if (!from || from->pod_idx != sock->pod_idx || !addr_equal(&e->remote, &sock->to) ||
	    e->remote_port != sock->to_port || !pair_joins(sock->pod_idx, sock->to_pod_idx, sock->to_port)) {
		sock->flags &= ~ORLOP_SOCK_JOINED;
		count(ORLOP_COUNT_JOIN_WITHDRAWN);
		return;
	}
	fill_tuple(&tuple, &e->local, e->local_port, &e->remote, e->remote_port);
	/* Asked again: the hook may have let many sockets through before the first of them dials. */
	if (!usage || AT_BOUND(usage->joined, ORLOP_POD_JOINED)) {
		sock->flags &= ~ORLOP_SOCK_JOINED;
		count(ORLOP_COUNT_JOINED_BUDGET);
		return;
	}
	/* It fails for a full map, or for an earlier connection between the same ends, which is over. */
	if (bpf_map_update_elem(&joined_flow, &tuple, &joined, BPF_NOEXIST) &&
	    (!withdraw_announcement(&tuple) ||
	     bpf_map_update_elem(&joined_flow, &tuple, &joined, BPF_NOEXIST))) {
		sock->flags &= ~ORLOP_SOCK_JOINED;
		count(ORLOP_COUNT_JOINED_MAP_FULL);
		return;
	}
	TAKE(usage->joined);
}

/* Nobody may use the announcement of a connection that has ended. */
static __always_inline void unannounce(const struct ends *e)
{
	struct orlop_tuple tuple;

	fill_tuple(&tuple, &e->local, e->local_port, &e->remote, e->remote_port);
	withdraw_announcement(&tuple);
}

/* 0: there was no such entry. */
static __always_inline int withdraw_dial(const struct orlop_tuple *tuple)
{
	struct orlop_admitted *admitted = bpf_map_lookup_elem(&agent_flow, tuple);
	struct orlop_usage *usage = admitted ? usage_of(admitted->pod_idx) : NULL;

	if (!usage || bpf_map_delete_elem(&agent_flow, tuple))
		return 0;
	RETURN(usage->dials);
	return 1;
}

/* The agent's dial to an application of a pod of this node. */
static __always_inline void admit_dial(struct bpf_sock_ops *ctx, const struct ends *e)
{
	struct orlop_admitted admitted = {.sock_cookie = bpf_get_socket_cookie(ctx)};
	__u64 netns = bpf_get_netns_cookie(ctx);
	struct orlop_pod *pod = bpf_map_lookup_elem(&pod_by_netns, &netns);
	struct orlop_usage *usage;
	struct orlop_tuple tuple;

	/* The agent dials inside the namespace of the pod; a dial in that of no known pod counts for index 0. */
	if (pod)
		admitted.pod_idx = pod->pod_idx;
	usage = usage_of(admitted.pod_idx);
	if (!usage || AT_BOUND(usage->dials, ORLOP_POD_DIALS)) {
		count(ORLOP_COUNT_AGENT_FLOW_BUDGET);
		return;
	}
	fill_tuple(&tuple, &e->local, e->local_port, &e->remote, e->remote_port);
	/* It fails for a full map, or for an earlier dial between the same ends, which is over. */
	if (bpf_map_update_elem(&agent_flow, &tuple, &admitted, BPF_NOEXIST) &&
	    (!withdraw_dial(&tuple) || bpf_map_update_elem(&agent_flow, &tuple, &admitted, BPF_NOEXIST))) {
		count(ORLOP_COUNT_AGENT_FLOW_MAP_FULL);
		return;
	}
	TAKE(usage->dials);
	count(ORLOP_COUNT_AGENT_FLOW_PUBLISHED);
	watch_states(ctx);
}

#endif
