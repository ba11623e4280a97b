/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* IPv4, IPv6 and v4-mapped folded into one form of 16 bytes. Words are in wire order throughout. */
#ifndef ORLOP_ADDR_BPF_H
#define ORLOP_ADDR_BPF_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "orlop_abi.h"

#ifndef AF_INET
#define AF_INET	 2
#define AF_INET6 10
#endif

/* A 32-bit field of the context, loaded at its own constant offset. Written by hand because the verifier
 * refuses the pointer arithmetic into which clang merges the loads of two branches. */
#define CTX(ctx, field)                                                                                      \
	({                                                                                                   \
		__u64 value_;                                                                                \
		asm volatile("%0 = *(u32 *)(%1 + %2)"                                                        \
			     : "=r"(value_)                                                                  \
			     : "r"(ctx), "i"(__builtin_offsetof(__typeof__(*(ctx)), field)));                \
		(__be32) value_;                                                                             \
	})

static __always_inline struct orlop_addr addr_of_words(__be32 w0, __be32 w1, __be32 w2, __be32 w3)
{
	struct orlop_addr a;
	__be32 words[4] = {w0, w1, w2, w3};
	__builtin_memcpy(&a, words, sizeof(a));
	return a;
}

static __always_inline struct orlop_addr addr_of_v4(__be32 v4)
{
	return addr_of_words(0, 0, bpf_htonl(0xffff), v4);
}

static __always_inline void words_of_addr(const struct orlop_addr *a, __be32 words[4])
{
	__builtin_memcpy(words, a, 16);
}

static __always_inline bool addr_is_v4(const struct orlop_addr *a)
{
	__be32 w[4];
	words_of_addr(a, w);
	return w[0] == 0 && w[1] == 0 && w[2] == bpf_htonl(0xffff);
}

static __always_inline bool addr_is_zero(const struct orlop_addr *a)
{
	__be32 w[4];
	words_of_addr(a, w);
	return (w[0] | w[1] | w[2] | w[3]) == 0;
}

static __always_inline bool addr_equal(const struct orlop_addr *a, const struct orlop_addr *b)
{
	__be32 x[4], y[4];
	words_of_addr(a, x);
	words_of_addr(b, y);
	return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3])) == 0;
}

/* 127.0.0.0/8, ::1; and 0.0.0.0, ::, which connect() takes for loopback. */
static __always_inline bool addr_is_local(const struct orlop_addr *a)
{
	__be32 w[4];
	words_of_addr(a, w);
	if (addr_is_v4(a))
		return (w[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) || w[3] == 0;
	return w[0] == 0 && w[1] == 0 && w[2] == 0 && (w[3] == 0 || w[3] == bpf_htonl(1));
}

#endif
