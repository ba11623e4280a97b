/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Inbound, one link per pod namespace: every SYN to the pod passes, is refused, or goes to the agent's
 * listener. The verdict needs no living agent. SK_DROP answers
 * with a reset. */
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "addr.bpf.h"
#include "count.bpf.h"
#include "maps.bpf.h"
#include "node_access.bpf.h"
#include "same_node.bpf.h"

struct arrival {
	struct orlop_tuple tuple; /* src: who calls, dst: the pod */
	__u32 pod_idx;		  /* 0: not known yet */
};

/* Set by the keeper before the load of a pod's own copy of this program: every address of the namespace that the copy is
 * attached to is this pod's, whether its Workload lists it or not. 0: only what pod_by_ip has is somebody's. */
const volatile __u32 own_pod_idx SEC(".rodata") = 0;

/* 0: nobody's. */
static __always_inline __u32 pod_at(const struct orlop_addr *dst)
{
	struct orlop_pod_ip *pod;

	if (own_pod_idx)
		return own_pod_idx;
	pod = bpf_map_lookup_elem(&pod_by_ip, dst);
	return pod ? pod->pod_idx : 0;
}

static __always_inline void read_arrival(struct bpf_sk_lookup *ctx, struct arrival *a)
{
	__builtin_memset(a, 0, sizeof(*a));
	if (ctx->family == AF_INET) {
		a->tuple.src = addr_from4(CTX(ctx, remote_ip4));
		a->tuple.dst = addr_from4(CTX(ctx, local_ip4));
	} else {
		a->tuple.src = addr_from6(CTX(ctx, remote_ip6[0]), CTX(ctx, remote_ip6[1]),
					  CTX(ctx, remote_ip6[2]), CTX(ctx, remote_ip6[3]));
		a->tuple.dst = addr_from6(CTX(ctx, local_ip6[0]), CTX(ctx, local_ip6[1]),
					  CTX(ctx, local_ip6[2]), CTX(ctx, local_ip6[3]));
	}
	a->tuple.src_port = ctx->remote_port;
	a->tuple.dst_port = bpf_htons((__u16)ctx->local_port);
}

static __always_inline int refuse(const struct arrival *a, __u32 reason)
{
	struct orlop_event *event;

	count(reason);
	event = event_reserve_refusal(reason, a->pod_idx);
	if (event) {
		event->direction = ORLOP_DIRECTION_IN;
		event->src = a->tuple.src;
		event->dst = a->tuple.dst;
		event->src_port = a->tuple.src_port;
		event->dst_port = a->tuple.dst_port;
		event_submit(event);
	}
	return SK_DROP;
}

/* To the keeper's listener of that port, which the pod cannot replace: an application that binds the same port
 * on every address gets nothing. Fail mode: closed at each return but the last. Without a listener, or with a
 * listener that the kernel does not accept, the SYN is dropped and never passed on. */
static __always_inline int assign(struct bpf_sk_lookup *ctx, const struct arrival *a, __u16 port,
				  __u32 counter)
{
	struct orlop_socket_key key = {
	    .pod_idx = a->pod_idx,
	    .family = ctx->family == AF_INET ? 4 : 6,
	    .port = bpf_htons(port),
	};
	struct bpf_sock *listener = bpf_map_lookup_elem(&inbound_socket, &key);
	long err;

	if (!listener)
		return refuse(a, ORLOP_COUNT_IN_REFUSED_NO_LISTENER);
	err = bpf_sk_assign(ctx, listener, 0);
	bpf_sk_release(listener);
	if (err)
		return refuse(a, ORLOP_COUNT_IN_REFUSED_NO_LISTENER);
	count(counter);
	return SK_PASS;
}

SEC("sk_lookup")
int orlop_lookup(struct bpf_sk_lookup *ctx)
{
	struct orlop_in_key key;
	struct arrival a;
	__u32 *verdict;

	/* Fail mode: open. Only TCP is meshed. */
	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	read_arrival(ctx, &a);

	/* Fail mode: closed. What the connect hook sent here comes from an address that the mesh knows as the pod's.
	 * No application listens at these addresses: nobody may reach one past the agent. */
	if (addr_is_spread(&a.tuple.dst) && a.tuple.dst_port == bpf_htons(ORLOP_PORT_OUTBOUND)) {
		struct orlop_pod_ip *from = bpf_map_lookup_elem(&pod_by_ip, &a.tuple.src);

		if (!from || (own_pod_idx && from->pod_idx != own_pod_idx))
			return refuse(&a, ORLOP_COUNT_IN_REFUSED_UNKNOWN);
		a.pod_idx = from->pod_idx;
		return assign(ctx, &a, ORLOP_PORT_OUTBOUND, ORLOP_COUNT_IN_LOCAL);
	}
	/* Fail mode: open. The pod talks to itself; no such address can come in from outside. The interface
	 * does not tell: for a connect to the pod's own address it reads eth0. The outbound listener is on
	 * loopback alone; what the connect hook sent to it at the pod's own address is given to it here. */
	if (addr_is_loopback(&a.tuple.dst) || addr_equal(&a.tuple.src, &a.tuple.dst)) {
		if (a.tuple.dst_port == bpf_htons(ORLOP_PORT_OUTBOUND) && !addr_is_loopback(&a.tuple.dst)) {
			a.pod_idx = pod_at(&a.tuple.dst);
			if (!a.pod_idx)
				return refuse(&a, ORLOP_COUNT_IN_REFUSED_UNKNOWN);
			return assign(ctx, &a, ORLOP_PORT_OUTBOUND, ORLOP_COUNT_IN_LOCAL);
		}
		count(ORLOP_COUNT_IN_LOCAL);
		return SK_PASS;
	}
	/* Fail mode: closed. */
	if (a.tuple.dst_port == bpf_htons(ORLOP_PORT_OUTBOUND) ||
	    a.tuple.dst_port == bpf_htons(ORLOP_PORT_INBOUND))
		return refuse(&a, ORLOP_COUNT_IN_REFUSED_PORT);
	/* Fail mode: open, for exactly the connection the agent is making. */
	if (bpf_map_lookup_elem(&agent_flow, &a.tuple)) {
		count(ORLOP_COUNT_IN_AGENT_FLOW);
		return SK_PASS;
	}
	/* Fail mode: closed. Nobody has said whose this address is: the pod is guarded, or not captured yet. */
	a.pod_idx = pod_at(&a.tuple.dst);
	if (!a.pod_idx)
		return refuse(&a, ORLOP_COUNT_IN_REFUSED_UNKNOWN);
	/* Fail mode: closed. To the listener of tunnels, which speaks nothing but TLS, or to nobody. */
	if (a.tuple.dst_port == bpf_htons(ORLOP_PORT_HBONE))
		return assign(ctx, &a, ORLOP_PORT_HBONE, ORLOP_COUNT_IN_HBONE);
	/* Fail mode: open, for exactly the connection that a pod of this node was let make. */
	if (announced(&a.tuple, a.pod_idx)) {
		count(ORLOP_COUNT_IN_JOINED);
		return SK_PASS;
	}
	/* Fail mode: open, for exactly the connection that a program of the node was let make. */
	if (let_in_from_node(&a.tuple, a.pod_idx)) {
		count(ORLOP_COUNT_IN_NODE_ACCESS);
		return SK_PASS;
	}

	__builtin_memset(&key, 0, sizeof(key));
	key.pod_idx = a.pod_idx;
	key.port = a.tuple.dst_port;
	verdict = bpf_map_lookup_elem(&in_by_port, &key);
	if (!verdict) {
		key.port = 0;
		verdict = bpf_map_lookup_elem(&in_by_port, &key);
	}
	/* Fail mode: closed. Nothing was said of this pod. */
	if (!verdict)
		return refuse(&a, ORLOP_COUNT_IN_REFUSED_UNKNOWN);
	/* Fail mode: open. The evaluator said so: PERMISSIVE and no policy. */
	if (*verdict == ORLOP_IN_PASS) {
		count(ORLOP_COUNT_IN_PASSED);
		return SK_PASS;
	}
	if (*verdict == ORLOP_IN_AGENT)
		return assign(ctx, &a, ORLOP_PORT_INBOUND, ORLOP_COUNT_IN_TO_AGENT);
	/* Fail mode: closed. STRICT, and any number we do not know. */
	return refuse(&a, ORLOP_COUNT_IN_REFUSED_STRICT);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
