/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* count(reason): one per-CPU counter per thing that can happen; see enum orlop_counter. */
#ifndef ORLOP_COUNT_BPF_H
#define ORLOP_COUNT_BPF_H

#include "maps.bpf.h"

static __always_inline void count(__u32 reason)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &reason);
	if (value)
		(*value)++; /* per CPU, and programs do not migrate: no atomic needed */
}

#endif
