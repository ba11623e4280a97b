/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* getpeername4, getpeername6: applications keep seeing the address they dialled. Also runs for accept() with
 * an address, where there is nothing to restore. Only ever changes what is shown, so its fail mode is to show
 * the truth. */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "addr.bpf.h"
#include "gate.bpf.h"
#include "maps.bpf.h"

/* What to show, or NULL to leave it as it is. A socket that an application accepted may have a listener's
 * storage, so the peer must be the address to which the hook
 * redirected this socket. */
static __always_inline struct orlop_sock *rewritten(struct bpf_sock_addr *ctx, const struct orlop_addr *peer)
{
	struct bpf_sock *sk = ctx->sk;
	struct orlop_sock *sock;
	__be16 port = (__be16)ctx->user_port;

	if (!sk)
		return NULL;
	sock = bpf_sk_storage_get(&dst_of_sock, sk, 0, 0);
	if (!sock)
		return NULL;
	if (sock->flags & ORLOP_SOCK_CAPTURED)
		return port == bpf_htons(ORLOP_PORT_OUTBOUND) ? sock : NULL;
	if (!(sock->flags & ORLOP_SOCK_JOINED) || sock->flags & ORLOP_SOCK_PASSIVE)
		return NULL;
	return port == sock->to_port && addr_equal(peer, &sock->to) ? sock : NULL;
}

SEC("cgroup/getpeername4")
int orlop_peer4(struct bpf_sock_addr *ctx)
{
	struct orlop_addr peer = addr_from4(CTX(ctx, user_ip4));
	struct orlop_sock *sock = rewritten(ctx, &peer);

	if (sock) {
		ctx->user_ip4 = addr_word(&sock->dst, 3);
		ctx->user_port = sock->dst_port;
	}
	return NAME_OK;
}

SEC("cgroup/getpeername6")
int orlop_peer6(struct bpf_sock_addr *ctx)
{
	struct orlop_addr peer = addr_from6(CTX(ctx, user_ip6[0]), CTX(ctx, user_ip6[1]),
					    CTX(ctx, user_ip6[2]), CTX(ctx, user_ip6[3]));
	struct orlop_sock *sock = rewritten(ctx, &peer);

	if (sock) {
		ctx->user_ip6[0] = addr_word(&sock->dst, 0);
		ctx->user_ip6[1] = addr_word(&sock->dst, 1);
		ctx->user_ip6[2] = addr_word(&sock->dst, 2);
		ctx->user_ip6[3] = addr_word(&sock->dst, 3);
		ctx->user_port = sock->dst_port;
	}
	return NAME_OK;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
