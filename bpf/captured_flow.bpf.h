/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* 2 · Where a captured connection meant to go: published before its SYN leaves, for the agent that accepts it, and
 * counted for its pod until the agent's listener has established it. What cannot be published the agent resets. */
#ifndef ORLOP_CAPTURED_FLOW_BPF_H
#define ORLOP_CAPTURED_FLOW_BPF_H

#include <bpf/bpf_helpers.h>
#include "addr.bpf.h"
#include "count.bpf.h"
#include "ends.bpf.h"
#include "maps.bpf.h"
#include "usage.bpf.h"

/* As the end that dials sees it. */
static __always_inline void fill_flow(struct orlop_flow *flow, struct bpf_sock_ops *ctx, const struct ends *e)
{
	__builtin_memset(flow, 0, sizeof(*flow));
	flow->netns_cookie = bpf_get_netns_cookie(ctx);
	flow->src = e->local;
	flow->src_port = e->local_port;
	flow->listener = addr_word(&e->remote, 3);
}

/* Ends the time in which this flow counts for its pod. 0: it had ended before. */
static __always_inline int settle(const struct orlop_flow *flow)
{
	__u32 *pod_idx = bpf_map_lookup_elem(&pending_flow, flow);
	struct orlop_usage *usage = pod_idx ? usage_of(*pod_idx) : NULL;

	if (!usage || bpf_map_delete_elem(&pending_flow, flow))
		return 0;
	RETURN(usage->flows);
	return 1;
}

/* Where a captured connection meant to go. Without it the agent resets what it accepts. */
static __always_inline void publish(struct bpf_sock_ops *ctx, const struct orlop_sock *sock,
				    const struct ends *e)
{
	struct orlop_usage *usage = usage_of(sock->pod_idx);
	struct orlop_dst dst = {
	    .addr = sock->dst,
	    .port = sock->dst_port,
	    .pod_idx = sock->pod_idx,
	    .sock_cookie = bpf_get_socket_cookie(ctx),
	};
	__u32 pod_idx = sock->pod_idx;
	struct orlop_flow flow;

	fill_flow(&flow, ctx, e);
	/* Asked again: with TCP_FASTOPEN_CONNECT the hook has let many sockets through before the first dials. */
	if (!usage || AT_BOUND(usage->flows, ORLOP_POD_FLOWS)) {
		count(ORLOP_COUNT_FLOW_MAP_FULL);
		return;
	}
	/* It fails for a full map, or for a flow of the same ends that nobody has settled: that flow is over. */
	if (bpf_map_update_elem(&pending_flow, &flow, &pod_idx, BPF_NOEXIST) &&
	    (!settle(&flow) || bpf_map_update_elem(&pending_flow, &flow, &pod_idx, BPF_NOEXIST))) {
		count(ORLOP_COUNT_FLOW_MAP_FULL);
		return;
	}
	TAKE(usage->flows);
	if (bpf_map_update_elem(&dst_of_flow, &flow, &dst, BPF_ANY))
		count(ORLOP_COUNT_FLOW_MAP_FULL);
	else
		count(ORLOP_COUNT_FLOW_PUBLISHED);
}

/* The pod's end of a captured connection is gone. What the agent's listener established is the agent's to remove:
 * the client may be gone before the agent has accepted. */
static __always_inline void unpublish(struct bpf_sock_ops *ctx, const struct ends *e)
{
	struct orlop_flow flow;

	fill_flow(&flow, ctx, e);
	if (settle(&flow))
		bpf_map_delete_elem(&dst_of_flow, &flow);
}

/* The agent's listener has established a captured connection. */
static __always_inline void arrived(struct bpf_sock_ops *ctx, const struct ends *e)
{
	struct orlop_flow flow;

	__builtin_memset(&flow, 0, sizeof(flow));
	flow.netns_cookie = bpf_get_netns_cookie(ctx);
	flow.src = e->remote;
	flow.src_port = e->remote_port;
	flow.listener = addr_word(&e->local, 3);
	settle(&flow);
}

#endif
