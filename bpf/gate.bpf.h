/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Is the agent alive, and if not, what has the evaluator said of this destination? */
#ifndef ORLOP_GATE_BPF_H
#define ORLOP_GATE_BPF_H

#include "addr.bpf.h"
#include "maps.bpf.h"

/* A heartbeat that never was, or a limit that is not set, counts as dead: nothing is assumed. */
static __always_inline bool agent_is_alive(void)
{
	__u32 zero = 0;
	struct orlop_gate *g = bpf_map_lookup_elem(&gate, &zero);
	if (!g || g->beat_ns == 0)
		return false;
	__u64 now = bpf_ktime_get_ns();
	return now < g->beat_ns || now - g->beat_ns <= g->limit_ns;
}

/* Without an agent: may this destination be reached directly? Exact port, then any port, then the pod's own
 * flag. */
static __always_inline bool may_go_direct(const struct orlop_pod *pod, const struct orlop_addr *dst,
					  __be16 port)
{
	struct orlop_out_key key = {.dst = *dst, .port = port};
	__u32 *said = bpf_map_lookup_elem(&out_by_dst, &key);
	if (!said) {
		key.port = 0;
		said = bpf_map_lookup_elem(&out_by_dst, &key);
	}
	if (said)
		return *said == ORLOP_OUT_DIRECT;
	return pod->flags & ORLOP_POD_FAIL_DIRECT;
}

#endif
