/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* 2 · sockops programs: both ends of a connection, and the tuple by which the other side's hooks know it. */
#ifndef ORLOP_ENDS_BPF_H
#define ORLOP_ENDS_BPF_H

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "addr.bpf.h"

/* Both ends as this socket sees them. */
struct ends {
	struct orlop_addr local;
	struct orlop_addr remote;
	__be16 local_port;
	__be16 remote_port;
};

static __always_inline void read_ends(struct bpf_sock_ops *ctx, struct ends *e)
{
	if (ctx->family == AF_INET6) {
		e->local = addr_from6(CTX(ctx, local_ip6[0]), CTX(ctx, local_ip6[1]), CTX(ctx, local_ip6[2]),
				      CTX(ctx, local_ip6[3]));
		e->remote = addr_from6(CTX(ctx, remote_ip6[0]), CTX(ctx, remote_ip6[1]),
				       CTX(ctx, remote_ip6[2]), CTX(ctx, remote_ip6[3]));
	} else {
		e->local = addr_from4(CTX(ctx, local_ip4));
		e->remote = addr_from4(CTX(ctx, remote_ip4));
	}
	e->local_port = bpf_htons((__u16)ctx->local_port);
	e->remote_port = bpf_htons((__u16)bpf_ntohl(ctx->remote_port));
}

static __always_inline void fill_tuple(struct orlop_tuple *t, const struct orlop_addr *src, __be16 src_port,
				       const struct orlop_addr *dst, __be16 dst_port)
{
	__builtin_memset(t, 0, sizeof(*t));
	t->src = *src;
	t->dst = *dst;
	t->src_port = src_port;
	t->dst_port = dst_port;
}

static __always_inline void watch_states(struct bpf_sock_ops *ctx)
{
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

#endif
