/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* 2 · sockops: publishes where a captured connection meant to go, before its SYN leaves; lets the agent's
 * dial in, and pods of this node that may join; counts opening, end, failure and bytes of each application
 * connection. It refuses nothing: what it cannot publish is missed by the agent (reset) or by sk_lookup
 * (judged as plaintext), never misrouted. May be attached at two nested cgroups, so every step is done once
 * per socket, by the flags in its storage. */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "addr.bpf.h"
#include "admitted_flow.bpf.h"
#include "captured_flow.bpf.h"
#include "ends.bpf.h"
#include "gate.bpf.h"
#include "maps.bpf.h"
#include "node_access.bpf.h"
#include "report.bpf.h"

/* Set by the keeper before the load: the kernel has MPTCP and bpf_skc_to_mptcp_sock (5.19). */
const volatile __u8 have_mptcp SEC(".rodata") = 0;

/* The application holds the MPTCP socket while a subflow dials; getpeername asks the MPTCP socket. */
static __always_inline void tell_mptcp(struct bpf_sock *sk, const struct orlop_sock *sock)
{
	struct mptcp_sock *whole;
	struct orlop_sock *shown;

	if (!have_mptcp)
		return;
	whole = bpf_skc_to_mptcp_sock(sk);
	if (!whole)
		return;
	shown = bpf_sk_storage_get(&dst_of_sock, whole, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!shown)
		return;
	shown->dst = sock->dst;
	shown->dst_port = sock->dst_port;
	shown->to = sock->to;
	shown->to_port = sock->to_port;
	shown->flags = sock->flags & (ORLOP_SOCK_CAPTURED | ORLOP_SOCK_JOINED);
}

/* The SYN is about to leave; both ends are known. */
static __always_inline void on_dial(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct orlop_sock *sock = bpf_sk_storage_get(&dst_of_sock, sk, 0, 0);
	struct ends e;

	if (!sock)
		return; /* not enrolled, or loopback */
	read_ends(ctx, &e);
	if (sock->flags & ORLOP_SOCK_AGENT) {
		if (sock->flags & ORLOP_SOCK_DIALS_APP)
			admit_dial(ctx, &e);
		return;
	}
	if (!(sock->flags & ORLOP_SOCK_DIALLING))
		return;
	if (sock->flags & ORLOP_SOCK_CAPTURED) {
		publish(ctx, sock, &e);
		tell_mptcp(sk, sock);
	} else if (sock->flags & ORLOP_SOCK_JOINED) {
		announce(ctx, sock, &e);
		tell_mptcp(sk, sock);
	}
	watch_states(ctx);
}

static __always_inline void on_dialled(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct orlop_sock *sock = bpf_sk_storage_get(&dst_of_sock, sk, 0, 0);
	struct ends e;

	if (!sock || sock->flags & ORLOP_SOCK_AGENT || !(sock->flags & ORLOP_SOCK_DIALLING))
		return;
	sock->flags = (sock->flags & ~ORLOP_SOCK_DIALLING) | ORLOP_SOCK_OPENED;
	read_ends(ctx, &e);
	opened(ctx, sock, &e);
}

/* An application accepted. Its storage, if any, was cloned from its listener and tells of another connection.
 */
static __always_inline void on_accepted(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	struct orlop_joined *joined;
	struct orlop_tuple tuple;
	struct orlop_sock *sock;
	struct orlop_pod *pod;
	struct ends e;

	pod = bpf_map_lookup_elem(&pod_by_netns, &netns);
	if (!pod)
		return;
	read_ends(ctx, &e);
	if (e.local_port == bpf_htons(ORLOP_PORT_OUTBOUND)) {
		sock = bpf_sk_storage_get(&dst_of_sock, sk, 0, 0);
		if (sock && sock->flags & ORLOP_SOCK_AGENT)
			arrived(ctx, &e);
		return;
	}
	if (addr_is_loopback(&e.local) || addr_equal(&e.local, &e.remote))
		return;
	sock = bpf_sk_storage_get(&dst_of_sock, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!sock || sock->flags & ORLOP_SOCK_AGENT)
		return;
	if (sock->flags & ORLOP_SOCK_PASSIVE && sock->flags & ORLOP_SOCK_OPENED)
		return; /* attached twice */
	__builtin_memset(sock, 0, sizeof(*sock));
	sock->pod_idx = pod->pod_idx;
	sock->flags = ORLOP_SOCK_PASSIVE | ORLOP_SOCK_OPENED;
	/* Admitted once: from here on the connection is found without sk_lookup. */
	fill_tuple(&tuple, &e.remote, e.remote_port, &e.local, e.local_port);
	joined = bpf_map_lookup_elem(&joined_flow, &tuple);
	if (joined && joined->dst_pod_idx == pod->pod_idx) {
		sock->flags |= ORLOP_SOCK_JOINED;
		sock->to = e.local;
		sock->to_port = e.local_port;
		sock->to_pod_idx = pod->pod_idx;
		withdraw_announced(&tuple, joined->src_pod_idx);
	} else if (withdraw_dial(&tuple)) {
		sock->flags |= ORLOP_SOCK_FROM_AGENT;
	} else if (withdraw_node_flow(&tuple, 0, &sock->node_cgroup)) {
		sock->flags |= ORLOP_SOCK_FROM_NODE;
	}
	watch_states(ctx);
	opened(ctx, sock, &e);
}

static __always_inline void on_state(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct orlop_sock *sock, was;
	__u32 from = ctx->args[0];

	if (ctx->args[1] != BPF_TCP_CLOSE)
		return;
	sock = bpf_sk_storage_get(&dst_of_sock, sk, 0, 0);
	if (!sock)
		return;
	if (sock->flags & ORLOP_SOCK_AGENT) {
		struct orlop_tuple tuple;
		struct ends e;

		read_ends(ctx, &e);
		fill_tuple(&tuple, &e.local, e.local_port, &e.remote, e.remote_port);
		withdraw_dial(&tuple);
		return;
	}
	if (sock->flags & ORLOP_SOCK_CAPTURED) {
		struct ends e;

		read_ends(ctx, &e);
		unpublish(ctx, &e);
	}
	if (sock->flags & ORLOP_SOCK_JOINED && !(sock->flags & ORLOP_SOCK_PASSIVE)) {
		struct ends e;

		read_ends(ctx, &e);
		unannounce(&e);
	}
	was = *sock;
	/* CAPTURED and JOINED stay: getpeername may still be asked. */
	sock->flags &= ~(ORLOP_SOCK_OPENED | ORLOP_SOCK_DIALLING);
	if (was.flags & ORLOP_SOCK_OPENED)
		closed(ctx, sk, &was, from);
	else if (was.flags & ORLOP_SOCK_DIALLING)
		failed(ctx, &was);
}

SEC("sockops")
int orlop_sockops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	if (!sk)
		return OPS_OK;
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		on_dial(ctx, sk);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		on_dialled(ctx, sk);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		on_accepted(ctx, sk);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		on_state(ctx, sk);
		break;
	}
	return OPS_OK;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
