/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Events to the agent. A full ring loses the event, never the verdict: the loss is counted. */
#ifndef ORLOP_EMIT_BPF_H
#define ORLOP_EMIT_BPF_H

#include "addr.bpf.h"
#include "count.bpf.h"

/* Reserves a zeroed event; NULL when the ring is full. */
static __always_inline struct orlop_event *event_begin(__u32 type, __u32 pod_idx, __u32 direction)
{
	struct orlop_event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		count(ORLOP_COUNT_EVENT_DROPPED);
		return NULL;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->at_ns = bpf_ktime_get_ns();
	e->type = type;
	e->pod_idx = pod_idx;
	e->direction = direction;
	return e;
}

static __always_inline void event_end(struct orlop_event *e)
{
	/* No wake-up per event: the agent looks on its own timer. */
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
}

#endif
