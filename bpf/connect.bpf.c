/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* 1 · connect4, connect6: every TCP connect of an enrolled pod is pointed at the agent's listener inside the
 * same network namespace, straight at another pod of this node where the evaluator said so, or refused.
 * Decides anew at each call, since a socket may connect more than once. Runs in the caller, before routing,
 * also for io_uring, non-blocking, MPTCP and TCP Fast Open connects. */
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "addr.bpf.h"
#include "count.bpf.h"
#include "gate.bpf.h"
#include "maps.bpf.h"
#include "same_node.bpf.h"

/* connect_any() only, which has chosen another far end: each program writes its own context. */
#define CONNECT_SEND 2

#define SOCK_STREAM	1
#define SOL_SOCKET	1
#define SO_BINDTODEVICE 25
#define PROTOCOL_MPTCP	262
#define LOOPBACK4	bpf_htonl(0x7f000001)

static __always_inline int refuse(struct bpf_sock_addr *ctx, __u32 reason, int err,
				  const struct orlop_pod *pod, const struct orlop_addr *dst, __be16 port)
{
	struct orlop_event *event;

	count(reason);
	event = event_reserve_refusal(reason, pod->pod_idx);
	if (event) {
		event->sock_cookie = bpf_get_socket_cookie(ctx);
		event->direction = ORLOP_DIRECTION_OUT;
		event->src = *pod_addr(pod, addr_is4(dst));
		event->dst = *dst;
		event->dst_port = port;
		event_submit(event);
	}
	if (have_set_retval)
		bpf_set_retval(-err);
	return CONNECT_REFUSE;
}

/* The pod's own address as source, with a port chosen later: unlike 127.0.0.1 it tells pods apart. Not 0 for
 * a socket that the application has bound itself. */
static __always_inline long bind_source(struct bpf_sock_addr *ctx, const struct orlop_pod *pod, int is4)
{
	if (ctx->family == AF_INET) {
		struct sockaddr_in src = {.sin_family = AF_INET};

		src.sin_addr.s_addr = addr_word(&pod->ip4, 3);
		return bpf_bind(ctx, (struct sockaddr *)&src, sizeof(src));
	} else {
		struct sockaddr_in6 src = {.sin6_family = AF_INET6};

		__builtin_memcpy(&src.sin6_addr, pod_addr(pod, is4), sizeof(src.sin6_addr));
		return bpf_bind(ctx, (struct sockaddr *)&src, sizeof(src));
	}
}

/* The listener is reached over loopback, and a socket that is bound to another device would never see its answer.
 * Not 0: the program may not release the device (Linux asks for CAP_NET_RAW). */
static __always_inline long release_device(struct bpf_sock_addr *ctx)
{
	char none[4] = {};

	return bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTODEVICE, none, sizeof(none));
}

/* The application bound a port and no address. */
static __always_inline int is_bound_to_any(struct bpf_sock_addr *ctx, struct bpf_sock *sk)
{
	if (ctx->family == AF_INET)
		return sk->src_ip4 == 0;
	/* :: or ::ffff:0.0.0.0 */
	return (sk->src_ip6[0] | sk->src_ip6[1] | sk->src_ip6[3]) == 0 &&
	       (sk->src_ip6[2] == 0 || sk->src_ip6[2] == bpf_htonl(0xffff));
}

/* Of a socket that is bound to an address: is it known to be this pod's, and of the destination's family? */
static __always_inline int is_bound_to_known(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
					     const struct orlop_pod *pod, int is4)
{
	struct orlop_addr src = ctx->family == AF_INET ? addr_from4(sk->src_ip4)
						       : addr_from6(sk->src_ip6[0], sk->src_ip6[1],
								    sk->src_ip6[2], sk->src_ip6[3]);
	struct orlop_pod_ip *known = bpf_map_lookup_elem(&pod_by_ip, &src);

	return known && known->pod_idx == pod->pod_idx && addr_is4(&src) == is4;
}

/* The same for the same destination, and hardly ever for two: then their connections share the local ports. */
static __always_inline struct orlop_addr spread_address(const struct orlop_addr *dst, __be16 port, int is4)
{
	__u64 mixed = ((__u64)addr_word(dst, 0) << 32 | addr_word(dst, 1)) * 0x9e3779b97f4a7c15ull;
	__u32 hash;

	mixed = (mixed ^ (mixed >> 32) ^ ((__u64)addr_word(dst, 3) << 32 | addr_word(dst, 2))) *
		0xbf58476d1ce4e5b9ull;
	mixed = (mixed ^ (mixed >> 29) ^ port) * 0x94d049bb133111ebull;
	hash = mixed >> 32;
	if (is4)
		return addr_from4(bpf_htonl(ORLOP_SPREAD4 | (hash & ~ORLOP_SPREAD4_MASK)));
	/* Never the last word of ::1. */
	return addr_from6(bpf_htonl(ORLOP_SPREAD6), 0, 0, bpf_htonl(hash | 0x80000000));
}

/* Binds the socket as far as the application has not, and chooses the address at which it meets the agent's listener. */
static __always_inline void capture(struct bpf_sock_addr *ctx, const struct orlop_pod *pod,
				    const struct orlop_addr *dst, __be16 port, struct far_end *to)
{
	struct bpf_sock *sk = ctx->sk;
	int is4 = addr_is4(dst);
	int ours = bind_source(ctx, pod, is4) == 0;
	int any = !ours && is_bound_to_any(ctx, sk);

	to->port = bpf_htons(ORLOP_PORT_OUTBOUND);
	/* sk_lookup tells by the source whose listener that is, so the source must be an address that it knows. */
	if (pod->flags & (is4 ? ORLOP_POD_SPREAD4 : ORLOP_POD_SPREAD6) &&
	    (ours || any || is_bound_to_known(ctx, sk, pod, is4))) {
		to->addr = spread_address(dst, port, is4);
		return;
	}
	/* The application has chosen the port, and the kernel chooses the address: 127.0.0.1 for a destination on
	 * loopback, but the pod's own address for itself. sk_lookup leads there to the same listener. */
	if (any)
		to->addr = *pod_addr(pod, is4);
	else
		to->addr = is4 ? addr_from4(LOOPBACK4) : addr_from6(0, 0, 0, bpf_htonl(1));
}

/* With its share of joined_flow used up, a pod's connections go by the agent. */
static __always_inline int may_join(const struct orlop_pod *pod)
{
	struct orlop_usage *usage = usage_of(pod->pod_idx);

	if (usage && !AT_BOUND(usage->joined, ORLOP_POD_JOINED))
		return 1;
	count(ORLOP_COUNT_JOINED_BUDGET);
	return 0;
}

static __always_inline int connect_any(struct bpf_sock_addr *ctx, const struct orlop_addr *dst,
				       struct far_end *to)
{
	struct bpf_sock *sk = ctx->sk;
	__be16 port = (__be16)ctx->user_port;
	struct orlop_usage *usage;
	struct orlop_sock *sock;
	struct orlop_pod *pod;
	__u32 protocol = ctx->protocol;
	__u64 netns;
	int is4 = addr_is4(dst), kind;

	/* Fail mode: open. Only TCP is meshed; UDP and other protocols go where the application sends them.
	 */
	if (ctx->type != SOCK_STREAM || (protocol != IPPROTO_TCP && protocol != PROTOCOL_MPTCP) || !sk)
		return CONNECT_GO;

	sock = bpf_sk_storage_get(&dst_of_sock, sk, 0, 0);
	if (sock) {
		/* Fail mode: open, for the agent alone: only the keeper writes this flag. */
		if (sock->flags & ORLOP_SOCK_AGENT) {
			count(ORLOP_COUNT_CONNECT_AGENT_SOCKET);
			return CONNECT_GO;
		}
		/* Whatever an earlier call stored is not where this one goes. */
		sock->flags = 0;
	}

	netns = bpf_get_netns_cookie(ctx);
	pod = bpf_map_lookup_elem(&pod_by_netns, &netns);
	/* Fail mode: open. Who is not enrolled is not touched. */
	if (!pod) {
		count(ORLOP_COUNT_CONNECT_NOT_ENROLLED);
		return CONNECT_GO;
	}
	/* Fail mode: open. Loopback does not leave the pod; the agent resets what comes to it uncaptured. */
	if (addr_is_loopback(dst)) {
		count(ORLOP_COUNT_CONNECT_LOCAL);
		return CONNECT_GO;
	}
	/* Fail mode: closed. Nobody may reach an agent's inner listener, his own or another pod's. */
	if (port == bpf_htons(ORLOP_PORT_OUTBOUND) || port == bpf_htons(ORLOP_PORT_INBOUND))
		return refuse(ctx, ORLOP_COUNT_CONNECT_REFUSED_PORT, ECONNREFUSED, pod, dst, port);
	/* Fail mode: open, as for loopback. The tunnel port is the agent's to refuse, also at home. */
	if (port != bpf_htons(ORLOP_PORT_HBONE) && addr_equal(dst, pod_addr(pod, is4))) {
		count(ORLOP_COUNT_CONNECT_LOCAL);
		return CONNECT_GO;
	}

	sock = bpf_sk_storage_get(&dst_of_sock, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	/* Fail mode: closed. Without storage nobody would know where this connection was meant to go. */
	if (!sock)
		return refuse(ctx, ORLOP_COUNT_CONNECT_REFUSED_NO_STORAGE, ECONNREFUSED, pod, dst, port);
	sock->dst = *dst;
	sock->dst_port = port;
	sock->pod_idx = pod->pod_idx;
	sock->opened_ns = 0;
	sock->flags = ORLOP_SOCK_DIALLING;

	/* Fail mode: open, for a pair that the evaluator let join: whether an agent lives makes no
	 * difference. A source that the application chose itself is the agent's to judge. */
	if (!addr_is_zero(pod_addr(pod, is4)) && same_node(pod, dst, port, to) && may_join(pod) &&
	    bind_source(ctx, pod, is4) == 0) {
		sock->to = to->addr;
		sock->to_port = to->port;
		sock->to_pod_idx = to->pod_idx;
		sock->flags = ORLOP_SOCK_DIALLING | ORLOP_SOCK_JOINED;
		count(ORLOP_COUNT_CONNECT_JOINED);
		return CONNECT_SEND;
	}

	if (!agent_alive()) {
		struct orlop_event *event;

		/* Fail mode: closed (STRICT, and every destination nobody vouched for). */
		if (verdict_without_agent(pod, dst, port) != ORLOP_OUT_DIRECT)
			return refuse(ctx, ORLOP_COUNT_CONNECT_REFUSED_NO_AGENT, ECONNREFUSED, pod, dst,
				      port);
		/* Fail mode: open (PERMISSIVE), counted and reported. */
		count(ORLOP_COUNT_CONNECT_DIRECT_NO_AGENT);
		event = event_reserve(ORLOP_EVENT_DIRECT, pod->pod_idx);
		if (event) {
			event->sock_cookie = bpf_get_socket_cookie(ctx);
			event->direction = ORLOP_DIRECTION_OUT;
			event->reason = ORLOP_COUNT_CONNECT_DIRECT_NO_AGENT;
			event->src = *pod_addr(pod, is4);
			event->dst = *dst;
			event->dst_port = port;
			event_submit(event);
		}
		return CONNECT_GO;
	}

	kind = destination_kind(dst, port);
	/* Fail mode: closed. The agent would accept, and only then find nobody; a Service without endpoints refuses. */
	if (kind == DST_UNANSWERED)
		return refuse(ctx, ORLOP_COUNT_CONNECT_UNANSWERED, ECONNREFUSED, pod, dst, port);
	/* Fail mode: open. No policy judges what leaves the mesh, and application and kernel see what they would see
	 * without a mesh. The port of tunnels is the agent's to refuse, anywhere. */
	if (port != bpf_htons(ORLOP_PORT_HBONE) && kind == DST_OUTSIDE) {
		sock->flags = ORLOP_SOCK_DIALLING | ORLOP_SOCK_OUTSIDE;
		count(ORLOP_COUNT_CONNECT_OUTSIDE);
		return CONNECT_GO;
	}

	/* Fail mode: closed. The pod has no address of this family that the keeper knows, so no source that
	 * names it. The errno is that of a kernel without such a route, and clients then try the other family. */
	if (addr_is_zero(pod_addr(pod, is4)))
		return refuse(ctx, ORLOP_COUNT_CONNECT_NO_FAMILY, ENETUNREACH, pod, dst, port);
	/* Fail mode: closed. A link-local address means another host on each device, and the agent would not know
	 * the device. */
	if (addr_is_link_local(dst) || (sk->bound_dev_if && release_device(ctx)))
		return refuse(ctx, ORLOP_COUNT_CONNECT_NO_FAMILY, ENETUNREACH, pod, dst, port);

	/* Fail mode: closed. What a pod without free ports would get: the agent's listener has not established the
	 * connections that the pod began before, and no other pod is to wait for them. */
	usage = usage_of(pod->pod_idx);
	if (!usage || AT_BOUND(usage->flows, ORLOP_POD_FLOWS)) {
		if (usage)
			__sync_fetch_and_add(&usage->refused, 1);
		return refuse(ctx, ORLOP_COUNT_CONNECT_REFUSED_BUDGET, EADDRNOTAVAIL, pod, dst, port);
	}

	sock->flags = ORLOP_SOCK_DIALLING | ORLOP_SOCK_CAPTURED;
	count(ORLOP_COUNT_CONNECT_CAPTURED);
	capture(ctx, pod, dst, port, to);
	return CONNECT_SEND;
}

SEC("cgroup/connect4")
int orlop_connect4(struct bpf_sock_addr *ctx)
{
	struct orlop_addr dst = addr_from4(CTX(ctx, user_ip4));
	struct far_end to;
	int verdict = connect_any(ctx, &dst, &to);

	if (verdict != CONNECT_SEND)
		return verdict;
	ctx->user_ip4 = addr_word(&to.addr, 3);
	ctx->user_port = to.port;
	return CONNECT_GO;
}

/* Also fires, alone, for ::ffff:a.b.c.d, which stays what it is. */
SEC("cgroup/connect6")
int orlop_connect6(struct bpf_sock_addr *ctx)
{
	struct orlop_addr dst = addr_from6(CTX(ctx, user_ip6[0]), CTX(ctx, user_ip6[1]),
					   CTX(ctx, user_ip6[2]), CTX(ctx, user_ip6[3]));
	struct far_end to;
	int verdict = connect_any(ctx, &dst, &to);

	if (verdict != CONNECT_SEND)
		return verdict;
	ctx->user_ip6[0] = addr_word(&to.addr, 0);
	ctx->user_ip6[1] = addr_word(&to.addr, 1);
	ctx->user_ip6[2] = addr_word(&to.addr, 2);
	ctx->user_ip6[3] = addr_word(&to.addr, 3);
	ctx->user_port = to.port;
	return CONNECT_GO;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
