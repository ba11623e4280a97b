/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What happened, per CPU; and events, which may be lost but never uncounted. */
#ifndef ORLOP_COUNT_BPF_H
#define ORLOP_COUNT_BPF_H

#include <bpf/bpf_helpers.h>
#include "maps.bpf.h"

static __always_inline void count(__u32 reason)
{
	__u64 *sum = bpf_map_lookup_elem(&counters, &reason);

	if (sum)
		*sum += 1; /* per CPU; a soft interrupt in between may cost one count, never more */
}

/* A zeroed record to fill in and submit, or NULL when the ring is full. */
static __always_inline struct orlop_event *event_reserve(__u32 type)
{
	struct orlop_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		count(ORLOP_COUNT_EVENT_DROPPED);
		return NULL;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->at_ns = bpf_ktime_get_ns();
	event->type = type;
	return event;
}

/* Any sender of SYNs can cause refusals, so they may fill half of the ring, the other half is kept
 * for what connections report. */
static __always_inline struct orlop_event *event_reserve_refusal(__u32 reason)
{
	struct orlop_event *event;

	if (bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >
	    bpf_ringbuf_query(&events, BPF_RB_RING_SIZE) / 2) {
		count(ORLOP_COUNT_EVENT_DROPPED);
		return NULL;
	}
	event = event_reserve(ORLOP_EVENT_REFUSED);
	if (event)
		event->reason = reason;
	return event;
}

#endif
