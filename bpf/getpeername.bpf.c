/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* cgroup/getpeername4,6 on an ancestor of the pods · the application keeps seeing the address it dialled.
 * accept() with an address asks as well: a socket without storage is left alone. Cannot refuse: these hooks
 * may only rewrite. */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "addr.bpf.h"
#include "maps.bpf.h"

enum { GETPEERNAME_DONE = 1 };

static __always_inline struct orlop_sock *captured(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct orlop_sock *saved = sk ? bpf_sk_storage_get(&dst_of_sock, sk, 0, 0) : NULL;

	return saved && (saved->flags & ORLOP_SOCK_CAPTURED) ? saved : NULL;
}

SEC("cgroup/getpeername4")
int orlop_peer4(struct bpf_sock_addr *ctx)
{
	struct orlop_sock *saved = captured(ctx);
	__be32 words[4];

	if (saved) {
		words_of_addr(&saved->dst, words);
		ctx->user_ip4 = words[3];
		ctx->user_port = saved->dst_port;
	}
	return GETPEERNAME_DONE;
}

SEC("cgroup/getpeername6")
int orlop_peer6(struct bpf_sock_addr *ctx)
{
	struct orlop_sock *saved = captured(ctx);
	__be32 words[4];

	if (saved) {
		words_of_addr(&saved->dst, words);
		ctx->user_ip6[0] = words[0];
		ctx->user_ip6[1] = words[1];
		ctx->user_ip6[2] = words[2];
		ctx->user_ip6[3] = words[3];
		ctx->user_port = saved->dst_port;
	}
	return GETPEERNAME_DONE;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
