/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* 1 · cgroup/connect4,6 on an ancestor of the pods · a pod calls connect(): save the destination, bind the
 * pod's address, point the socket at the listener in the same pod. Runs for non-blocking connects, MPTCP, TCP
 * fast open and io_uring too. */
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "addr.bpf.h"
#include "count.bpf.h"
#include "emit.bpf.h"
#include "gate.bpf.h"
#include "maps.bpf.h"

#define SOCK_STREAM_TYPE     1
#define IPPROTO_MPTCP_NUMBER 262
#define ECONNREFUSED_NUMBER  111

enum { CONNECT_REFUSE = 0, CONNECT_GO = 1 };

/* What the shared half decided; the two programs differ only in how they write it into their context. */
enum outcome { PASS, REFUSE, CAPTURE };

static __always_inline bool is_tcp(__u32 type, __u32 protocol)
{
	return type == SOCK_STREAM_TYPE && (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP_NUMBER);
}

/* A reconnect that is not captured must not show an earlier destination to getpeername. */
static __always_inline void forget(struct orlop_sock *saved)
{
	if (saved)
		saved->flags &= ~ORLOP_SOCK_CAPTURED;
}

static __always_inline int refuse(const struct orlop_pod *pod, const struct orlop_addr *dst, __be16 port,
				  __u32 reason)
{
	struct orlop_event *e;

	count(reason);
	e = event_begin(ORLOP_EVENT_REFUSED, pod->pod_idx, ORLOP_DIRECTION_OUT);
	if (e) {
		e->reason = reason;
		e->src = addr_is_v4(dst) ? pod->ip4 : pod->ip6;
		e->dst = *dst;
		e->dst_port = port;
		event_end(e);
	}
	return REFUSE;
}

static __always_inline enum outcome decide(struct bpf_sock_addr *ctx, const struct orlop_addr *dst,
					   __be16 port, struct orlop_pod **enrolled)
{
	struct orlop_sock *saved;
	struct orlop_pod *pod;
	struct bpf_sock *sk = ctx->sk;
	__u64 cookie;

	if (!is_tcp(ctx->type, ctx->protocol) || !sk)
		return PASS; /* UDP is not meshed (D2.6) */

	saved = bpf_sk_storage_get(&dst_of_sock, sk, 0, 0);
	if (saved && (saved->flags & ORLOP_SOCK_AGENT)) {
		count(ORLOP_COUNT_CONNECT_AGENT_SOCKET);
		return PASS; /* the keeper made it and marked it where no pod can reach */
	}

	cookie = bpf_get_netns_cookie(ctx);
	pod = bpf_map_lookup_elem(&pod_by_netns, &cookie);
	if (!pod) {
		count(ORLOP_COUNT_CONNECT_NOT_ENROLLED);
		return PASS; /* enrolment is opt-in: this namespace is none of ours */
	}
	*enrolled = pod;

	if (addr_is_local(dst) || addr_equal(dst, &pod->ip4) || addr_equal(dst, &pod->ip6)) {
		count(ORLOP_COUNT_CONNECT_LOCAL);
		forget(saved);
		return PASS; /* never leaves the pod */
	}
	if (port == bpf_htons(ORLOP_PORT_OUTBOUND) || port == bpf_htons(ORLOP_PORT_INBOUND)) {
		forget(saved);
		return refuse(pod, dst, port,
			      ORLOP_COUNT_CONNECT_REFUSED_PORT); /* closed: nobody serves there */
	}

	if (!agent_is_alive()) {
		struct orlop_event *e;

		forget(saved);
		if (!may_go_direct(pod, dst, port))
			return refuse(pod, dst, port,
				      ORLOP_COUNT_CONNECT_REFUSED_NO_AGENT); /* STRICT: closed */
		count(ORLOP_COUNT_CONNECT_DIRECT_NO_AGENT);
		e = event_begin(ORLOP_EVENT_DIRECT, pod->pod_idx, ORLOP_DIRECTION_OUT);
		if (e) {
			e->reason = ORLOP_COUNT_CONNECT_DIRECT_NO_AGENT;
			e->src = addr_is_v4(dst) ? pod->ip4 : pod->ip6;
			e->dst = *dst;
			e->dst_port = port;
			event_end(e);
		}
		return PASS; /* PERMISSIVE and free of policy: open, counted, and only while nobody is there
			      */
	}

	saved = bpf_sk_storage_get(&dst_of_sock, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!saved) {
		/* Closed: redirecting now would strand the agent without a destination, and letting it
		 * through would bypass policy. */
		return refuse(pod, dst, port, ORLOP_COUNT_CONNECT_REFUSED_NO_STORAGE);
	}
	/* Always this call's destination: connect(AF_UNSPEC) and a second connect() keep the socket. */
	saved->dst = *dst;
	saved->dst_port = port;
	saved->pod_idx = pod->pod_idx;
	saved->flags = ORLOP_SOCK_CAPTURED;
	saved->opened_ns = 0;
	count(ORLOP_COUNT_CONNECT_CAPTURED);
	return CAPTURE;
}

static __always_inline int refused(void)
{
	/* ECONNREFUSED is what applications retry on; below 5.18 the kernel says EPERM instead. */
	bpf_set_retval(-ECONNREFUSED_NUMBER);
	return CONNECT_REFUSE;
}

SEC("cgroup/connect4")
int orlop_connect4(struct bpf_sock_addr *ctx)
{
	struct orlop_addr dst = addr_of_v4(CTX(ctx, user_ip4));
	struct orlop_pod *pod = NULL;
	struct sockaddr_in from = {.sin_family = AF_INET};
	__be32 words[4];

	switch (decide(ctx, &dst, (__be16)ctx->user_port, &pod)) {
	case PASS:
		return CONNECT_GO;
	case REFUSE:
		return refused();
	case CAPTURE:
		break;
	}
	/* The pod's own address as source makes (source, port) unique in the namespace. A socket that is
	 * bound already says EINVAL and keeps its address, which serves as well. */
	if (pod && !addr_is_zero(&pod->ip4)) {
		words_of_addr(&pod->ip4, words);
		from.sin_addr.s_addr = words[3];
		bpf_bind(ctx, (struct sockaddr *)&from, sizeof(from));
	} else {
		count(ORLOP_COUNT_CONNECT_NO_FAMILY); /* still captured, from 127.0.0.1: the agent decides */
	}
	ctx->user_ip4 = bpf_htonl(0x7f000001);
	ctx->user_port = bpf_htons(ORLOP_PORT_OUTBOUND);
	return CONNECT_GO;
}

SEC("cgroup/connect6")
int orlop_connect6(struct bpf_sock_addr *ctx)
{
	struct orlop_addr dst = addr_of_words(CTX(ctx, user_ip6[0]), CTX(ctx, user_ip6[1]),
					      CTX(ctx, user_ip6[2]), CTX(ctx, user_ip6[3]));
	struct orlop_pod *pod = NULL;
	struct sockaddr_in6 from = {.sin6_family = AF_INET6};
	const struct orlop_addr *own;
	bool mapped;

	switch (decide(ctx, &dst, (__be16)ctx->user_port, &pod)) {
	case PASS:
		return CONNECT_GO;
	case REFUSE:
		return refused();
	case CAPTURE:
		break;
	}
	/* ::ffff:a.b.c.d fires this hook and not connect4: it stays what it is and goes to ::ffff:127.0.0.1.
	 */
	if (pod) {
		own = addr_is_v4(&dst) ? &pod->ip4 : &pod->ip6;
		if (!addr_is_zero(own)) {
			__builtin_memcpy(&from.sin6_addr, own, 16);
			bpf_bind(ctx, (struct sockaddr *)&from, sizeof(from));
		} else {
			count(ORLOP_COUNT_CONNECT_NO_FAMILY);
		}
	}
	mapped = addr_is_v4(&dst);
	ctx->user_ip6[0] = 0;
	ctx->user_ip6[1] = 0;
	ctx->user_ip6[2] = mapped ? bpf_htonl(0xffff) : 0;
	ctx->user_ip6[3] = mapped ? bpf_htonl(0x7f000001) : bpf_htonl(1);
	ctx->user_port = bpf_htons(ORLOP_PORT_OUTBOUND);
	return CONNECT_GO;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
