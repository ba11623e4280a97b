/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* 1, 2 · both ends on this node: may the connection go there by itself? Said by the evaluator, pair by pair;
 * whatever was not said is the agent's. Refuses nothing and lets nothing through that nobody judged. */
#ifndef ORLOP_SAME_NODE_BPF_H
#define ORLOP_SAME_NODE_BPF_H

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "addr.bpf.h"
#include "maps.bpf.h"

struct far_end {
	struct orlop_addr addr;
	__u32 pod_idx;
	__be16 port;
	__u16 pad;
};

/* The exact port, then any port. */
static __always_inline int pair_joins(__u32 src_pod_idx, __u32 dst_pod_idx, __be16 port)
{
	struct orlop_pair_key key = {
	    .src_pod_idx = src_pod_idx,
	    .dst_pod_idx = dst_pod_idx,
	    .port = port,
	};
	__u32 *said = bpf_map_lookup_elem(&pair_verdict, &key);

	if (!said) {
		key.port = 0;
		said = bpf_map_lookup_elem(&pair_verdict, &key);
	}
	return said && *said == ORLOP_PAIR_JOIN;
}

/* Replaces a virtual address by an endpoint behind it, drawn by weight, and leaves any other address as it
 * is. 0: no endpoint may be chosen. */
static __always_inline int resolve(const struct orlop_pod *pod, const struct orlop_addr *dst, __be16 port,
				   struct far_end *to)
{
	struct orlop_vip_key key = {.vip = *dst, .pod_idx = pod->pod_idx, .port = port};
	struct orlop_backends *known = bpf_map_lookup_elem(&vip_backends, &key);
	__u32 shares, draw;

	__builtin_memset(to, 0, sizeof(*to));
	to->addr = *dst;
	to->port = port;
	if (!known)
		return 1;
	shares = known->shares;
	if (shares == 0)
		return 0;
	draw = bpf_get_prandom_u32() % shares;
#pragma unroll
	for (__u32 i = 0; i < ORLOP_MAX_BACKENDS; i++) {
		const struct orlop_backend *one = OPAQUE(&known->list[i]);

		if (i >= known->count)
			return 0;
		if (draw < one->share_end) {
			to->addr = one->addr;
			to->port = one->port;
			return 1;
		}
	}
	return 0;
}

/* Whether the pod's connection to dst may go straight to `to`. */
static __always_inline int same_node(const struct orlop_pod *pod, const struct orlop_addr *dst, __be16 port,
				     struct far_end *to)
{
	struct orlop_pod_ip *there;

	if (!resolve(pod, dst, port, to) || addr_is4(&to->addr) != addr_is4(dst))
		return 0;
	if (to->port == bpf_htons(ORLOP_PORT_OUTBOUND) || to->port == bpf_htons(ORLOP_PORT_INBOUND) ||
	    to->port == bpf_htons(ORLOP_PORT_HBONE))
		return 0;
	there = bpf_map_lookup_elem(&pod_by_ip, &to->addr);
	if (!there || there->pod_idx == pod->pod_idx)
		return 0;
	to->pod_idx = there->pod_idx;
	return pair_joins(pod->pod_idx, to->pod_idx, to->port);
}

/* Was this arrival announced by the pod it comes from, for the pod it arrives at? */
static __always_inline int announced(const struct orlop_tuple *tuple, __u32 pod_idx)
{
	struct orlop_joined *joined = bpf_map_lookup_elem(&joined_flow, tuple);
	struct orlop_pod_ip *from;

	if (!joined || joined->dst_pod_idx != pod_idx)
		return 0;
	from = bpf_map_lookup_elem(&pod_by_ip, &tuple->src);
	return from && from->pod_idx == joined->src_pod_idx;
}

#endif
