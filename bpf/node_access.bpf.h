/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Programs of the node that reach its pods past their policy: who they are is the keeper's word, to which ports the
 * agent's. Both are asked when such a program dials, and again when its connection arrives. */
#ifndef ORLOP_NODE_ACCESS_BPF_H
#define ORLOP_NODE_ACCESS_BPF_H

#include <bpf/bpf_helpers.h>
#include "maps.bpf.h"
#include "usage.bpf.h"

/* NULL: nobody is let in. */
static __always_inline struct orlop_node_access *node_access_on(void)
{
	__u32 zero = 0;
	struct orlop_node_access *access = bpf_map_lookup_elem(&node_access, &zero);

	return access && access->netns_cookie != 0 ? access : NULL;
}

/* The exact port, then any port. */
static __always_inline int node_port_open(__u32 pod_idx, __be16 port)
{
	struct orlop_in_key key = {.pod_idx = pod_idx, .port = port};

	if (bpf_map_lookup_elem(&node_port, &key))
		return 1;
	key.port = 0;
	return bpf_map_lookup_elem(&node_port, &key) != NULL;
}

/* Whether the flow of this arrival was published by a program that is let in now, for this pod and a port that is open
 * now. Fail mode: 0, and the arrival is judged like any other plaintext. */
static __always_inline int let_in_from_node(const struct orlop_tuple *tuple, __u32 pod_idx)
{
	struct orlop_node_flow *flow = bpf_map_lookup_elem(&node_flow, tuple);
	struct orlop_node_access *access;
	__u64 now, cgroup;

	if (!flow || flow->pod_idx != pod_idx)
		return 0;
	now = bpf_ktime_get_ns();
	if (now > flow->at_ns && now - flow->at_ns > ORLOP_NODE_FLOW_NS)
		return 0;
	access = node_access_on();
	if (!access)
		return 0;
	cgroup = flow->cgroup;
	if (cgroup == 0 ? !access->everybody : !bpf_map_lookup_elem(&node_cgroup, &cgroup))
		return 0;
	return node_port_open(pod_idx, tuple->dst_port);
}

/* Removes the entry, if it is of that socket; cookie 0: of whichever. 0: there was none. */
static __always_inline int withdraw_node_flow(const struct orlop_tuple *tuple, __u64 cookie, __u64 *cgroup)
{
	struct orlop_node_flow *flow = bpf_map_lookup_elem(&node_flow, tuple);
	struct orlop_usage *usage;

	if (!flow || (cookie != 0 && flow->sock_cookie != cookie))
		return 0;
	*cgroup = flow->cgroup;
	usage = usage_of(flow->pod_idx);
	if (!usage || bpf_map_delete_elem(&node_flow, tuple))
		return 0;
	RETURN(usage->node_dials);
	return 1;
}

#endif
