/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the keeper and survey.bpf.c say to each other. Pinned nowhere: both come out of one build. */
#ifndef ORLOP_SURVEY_ABI_H
#define ORLOP_SURVEY_ABI_H

#include <linux/types.h>

/* Buckets read at a time; a table has a power of two of them. */
#define ORLOP_SURVEY_GROUP 64u
/* Indices of pods are below it. */
#define ORLOP_SURVEY_PODS 4097u

/* orlop_survey.pods */
#define ORLOP_SURVEY_ASKED 1u
#define ORLOP_SURVEY_FOUND 2u /* has a connection that may have to end */

struct orlop_survey {
	__u64 ehash;   /* the kernel's address of the table; 0: not found */
	__u32 mask;    /* how many buckets it has, less 1 */
	__u32 pod_idx; /* whose namespace it was asked in; 0: no captured pod's */
	__u32 from;    /* the first bucket of the part */
	__u32 groups;
	__u32 torn; /* not 0: a part of the table could not be read in peace */
	__u8 pods[ORLOP_SURVEY_PODS];
};

#endif
