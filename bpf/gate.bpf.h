/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Enrolled? Is the agent alive? What if not? And the return codes of each hook by name. */
#ifndef ORLOP_GATE_BPF_H
#define ORLOP_GATE_BPF_H

#include <bpf/bpf_helpers.h>
#include "maps.bpf.h"

/* connect4, connect6: 0 makes connect() fail, with EPERM unless another errno was set. */
#define CONNECT_REFUSE 0
#define CONNECT_GO     1
/* getpeername4, getpeername6 may only return 1. */
#define NAME_OK 1
/* sockops: the value is ignored for the callbacks used here. */
#define OPS_OK 1

#define EADDRNOTAVAIL 99
#define ECONNREFUSED  111
#define ENETUNREACH   101

/* Set by the keeper before the load: bpf_set_retval exists (5.18). Without it a refusal reads EPERM. */
const volatile __u8 have_set_retval SEC(".rodata") __weak = 0;

/* The beat is written by another CPU, so it may lie a little ahead of this one's clock. No beat yet: late. */
static __always_inline int agent_alive(void)
{
	__u32 zero = 0;
	struct orlop_gate *g = bpf_map_lookup_elem(&gate, &zero);
	__u64 now, beat, age;

	if (!g)
		return 0; /* fail mode: not alive, so each destination's own fail mode decides */
	beat = g->beat_ns;
	if (beat == 0)
		return 0;
	now = bpf_ktime_get_ns();
	age = now > beat ? now - beat : beat - now;
	return age <= g->limit_ns;
}

/* The exact port, then any port; NULL: nothing was said of this destination. */
static __always_inline __u32 *said_of(const struct orlop_addr *dst, __be16 port)
{
	struct orlop_out_key key = {.dst = *dst, .port = port};
	__u32 *said = bpf_map_lookup_elem(&out_by_dst, &key);

	if (said)
		return said;
	key.port = 0;
	return bpf_map_lookup_elem(&out_by_dst, &key);
}

#define DST_OF_MESH    0 /* the agent takes the connection */
#define DST_OUTSIDE    1 /* the mesh has nobody there */
#define DST_UNANSWERED 2 /* nobody answers there, or nobody can tell who would */

/* What a living agent, which has written all addresses of the mesh, says of a destination. Fail mode: the agent takes the
 * connection. Ask only while agent_alive(). */
static __always_inline int destination_kind(const struct orlop_addr *dst, __be16 port)
{
	__u32 zero = 0;
	struct orlop_gate *g = bpf_map_lookup_elem(&gate, &zero);
	__u32 *said;

	if (!g || g->mesh_written == 0)
		return DST_OF_MESH;
	said = said_of(dst, port);
	/* An address that a pod of this node has is the agent's, also when others claim it. */
	if (said && !(*said & ORLOP_OUT_UNANSWERED))
		return DST_OF_MESH;
	if (bpf_map_lookup_elem(&pod_by_ip, dst))
		return DST_OF_MESH;
	return said ? DST_UNANSWERED : DST_OUTSIDE;
}

/* What the evaluator said of this destination for the time without an agent: exact port, any port, and
 * for a destination it never spoke of, the pod's own mode. Everything but DIRECT refuses. */
static __always_inline __u32 verdict_without_agent(const struct orlop_pod *pod, const struct orlop_addr *dst,
						   __be16 port)
{
	__u32 *said = said_of(dst, port);

	if (said)
		return (*said & ~ORLOP_OUT_UNANSWERED) == ORLOP_OUT_DIRECT ? ORLOP_OUT_DIRECT
									   : ORLOP_OUT_REFUSE;
	return pod->flags & ORLOP_POD_FAIL_DIRECT ? ORLOP_OUT_DIRECT : ORLOP_OUT_REFUSE;
}

#endif
