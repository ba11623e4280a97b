/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What each pod holds of the shared maps, so that one pod cannot fill them for all. The hook that
 * inserts an entry counts it, and the hook whose delete finds it discounts it: a delete finds an entry once. */
#ifndef ORLOP_USAGE_BPF_H
#define ORLOP_USAGE_BPF_H

#include <bpf/bpf_helpers.h>
#include "maps.bpf.h"

/* NULL: an index that the keeper never gives. Callers then go on as if the bound were reached. */
static __always_inline struct orlop_usage *usage_of(__u32 pod_idx)
{
	return bpf_map_lookup_elem(&pod_usage, &pod_idx);
}

/* Signed: an entry deleted after the keeper has set the sums to zero may take one below it. */
#define AT_BOUND(held, bound) ((__s32)(held) >= (__s32)(bound))

#define TAKE(held)   __sync_fetch_and_add(&(held), 1)
#define RETURN(held) __sync_fetch_and_add(&(held), (__u32)-1)

#endif
