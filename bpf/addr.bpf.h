/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* IPv4, IPv6 and v4-mapped IPv6 folded into one form (orlop_abi.h), so that two addresses are
 * compared in a single way. */
#ifndef ORLOP_ADDR_BPF_H
#define ORLOP_ADDR_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "orlop_abi.h"

#define AF_INET	 2
#define AF_INET6 10

/* A 32-bit field of the context, loaded at its own constant offset and full width. By hand, because clang may
 * merge the loads of two branches into pointer arithmetic or narrow them, both of which verifiers refuse. */
#define CTX(ctx, field)                                                                                      \
	({                                                                                                   \
		__u64 value_;                                                                                \
		asm volatile("%0 = *(u32 *)(%1 + %2)"                                                        \
			     : "=r"(value_)                                                                  \
			     : "r"(ctx), "i"(__builtin_offsetof(__typeof__(*(ctx)), field)));                \
		(__u32) value_;                                                                              \
	})

/* From here on clang knows nothing of this pointer. Where it may point to several objects, clang would
 * compute it as an offset, and the verifier refuses such arithmetic without CAP_PERFMON or CAP_SYS_ADMIN. */
#define OPAQUE(pointer)                                                                                      \
	({                                                                                                   \
		__typeof__(pointer) pointer_ = (pointer);                                                    \
		asm volatile("" : "+r"(pointer_));                                                           \
		pointer_;                                                                                    \
	})

/* The same 16 bytes as four words in wire order. */
union addr_words {
	struct orlop_addr addr;
	__u32 word[4];
};

static __always_inline struct orlop_addr addr_from4(__u32 ip4)
{
	union addr_words a = {.word = {0, 0, bpf_htonl(0xffff), ip4}};

	return a.addr;
}

static __always_inline struct orlop_addr addr_from6(__u32 w0, __u32 w1, __u32 w2, __u32 w3)
{
	union addr_words a = {.word = {w0, w1, w2, w3}};

	return a.addr;
}

static __always_inline __u32 addr_word(const struct orlop_addr *a, int i)
{
	return ((const union addr_words *)a)->word[i];
}

static __always_inline int addr_is4(const struct orlop_addr *a)
{
	return addr_word(a, 0) == 0 && addr_word(a, 1) == 0 && addr_word(a, 2) == bpf_htonl(0xffff);
}

static __always_inline int addr_equal(const struct orlop_addr *a, const struct orlop_addr *b)
{
	return addr_word(a, 0) == addr_word(b, 0) && addr_word(a, 1) == addr_word(b, 1) &&
	       addr_word(a, 2) == addr_word(b, 2) && addr_word(a, 3) == addr_word(b, 3);
}

static __always_inline int addr_is_zero(const struct orlop_addr *a)
{
	return (addr_word(a, 0) | addr_word(a, 1) | addr_word(a, 2) | addr_word(a, 3)) == 0;
}

/* fe80::/10 (RFC 4291, section 2.5.6) */
static __always_inline int addr_is_link_local(const struct orlop_addr *a)
{
	return (addr_word(a, 0) & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* An address at which captured connections meet the agent's listener (orlop_abi.h). */
static __always_inline int addr_is_spread(const struct orlop_addr *a)
{
	if (addr_is4(a))
		return (addr_word(a, 3) & bpf_htonl(ORLOP_SPREAD4_MASK)) == bpf_htonl(ORLOP_SPREAD4);
	return addr_word(a, 0) == bpf_htonl(ORLOP_SPREAD6) && addr_word(a, 1) == 0;
}

/* The pod's own address of that family. */
static __always_inline const struct orlop_addr *pod_addr(const struct orlop_pod *pod, int is4)
{
	const struct orlop_addr *ip4 = OPAQUE(&pod->ip4), *ip6 = OPAQUE(&pod->ip6);

	return is4 ? ip4 : ip6;
}

/* Leads back into the same namespace whatever its routes say: 127.0.0.0/8, ::1, and the unspecified
 * addresses, which connect() takes for loopback. */
static __always_inline int addr_is_loopback(const struct orlop_addr *a)
{
	__u32 last = addr_word(a, 3);

	if (addr_is4(a))
		return (last & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) || last == 0;
	return (addr_word(a, 0) | addr_word(a, 1) | addr_word(a, 2)) == 0 &&
	       (last == 0 || last == bpf_htonl(1));
}

#endif
