/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What happened, per CPU; and events, which may be lost but never uncounted. */
#ifndef ORLOP_COUNT_BPF_H
#define ORLOP_COUNT_BPF_H

#include <bpf/bpf_helpers.h>
#include "maps.bpf.h"
#include "usage.bpf.h"

static __always_inline void count(__u32 reason)
{
	__u64 *sum = bpf_map_lookup_elem(&counters, &reason);

	if (sum)
		*sum += 1; /* per CPU; a soft interrupt in between may cost one count, never more */
}

static __always_inline void event_lost(struct orlop_usage *usage)
{
	count(ORLOP_COUNT_EVENT_DROPPED);
	if (usage)
		__sync_fetch_and_add(&usage->events_lost, 1);
}

/* Whether the pod has had its share of a ring that is more than half full. Not exact: a pod's events are counted
 * from one moment until the reader has come as far, then anew. */
static __always_inline int over_share(struct orlop_usage *usage)
{
	__u64 size = bpf_ringbuf_query(&events, BPF_RB_RING_SIZE);

	if (bpf_ringbuf_query(&events, BPF_RB_CONS_POS) >= usage->ring_mark) {
		usage->ring_mark = bpf_ringbuf_query(&events, BPF_RB_PROD_POS);
		usage->ring_events = 0;
	}
	TAKE(usage->ring_events);
	return bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) > size / 2 &&
	       (__u64)usage->ring_events * sizeof(struct orlop_event) > size / ORLOP_POD_RING_SHARE;
}

/* A zeroed record to fill in and submit, or NULL: the ring is full, or it is more than half full and the pod used up
 * its part. */
static __always_inline struct orlop_event *event_reserve(__u32 type, __u32 pod_idx)
{
	struct orlop_usage *usage = usage_of(pod_idx);
	struct orlop_event *event;

	if (!usage || over_share(usage)) {
		event_lost(usage);
		return NULL;
	}
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		event_lost(usage);
		return NULL;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->at_ns = bpf_ktime_get_ns();
	event->type = type;
	event->pod_idx = pod_idx;
	return event;
}

/* Nobody waits for the ring: the agent looks into it by a timer. Without the flag the kernel would interrupt itself, to wake
 * nobody, for the first event after each look. */
static __always_inline void event_submit(struct orlop_event *event)
{
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}

/* Any sender of SYNs can cause refusals, so they may fill half of the ring, the other half is kept
 * for what connections report. */
static __always_inline struct orlop_event *event_reserve_refusal(__u32 reason, __u32 pod_idx)
{
	struct orlop_event *event;

	if (bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >
	    bpf_ringbuf_query(&events, BPF_RB_RING_SIZE) / 2) {
		event_lost(usage_of(pod_idx));
		return NULL;
	}
	event = event_reserve(ORLOP_EVENT_REFUSED, pod_idx);
	if (event)
		event->reason = reason;
	return event;
}

#endif
