/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sk_lookup, one link per pod namespace · who may reach a listener of the pod, before anything is accepted.
 * What is not known is refused: SK_DROP answers a SYN with RST. Linux ≥ 5.9. */
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "addr.bpf.h"
#include "count.bpf.h"
#include "emit.bpf.h"
#include "maps.bpf.h"

static __always_inline int refuse(const struct orlop_tuple *tuple, __u32 pod_idx, __u32 reason)
{
	struct orlop_event *e;

	count(reason);
	e = event_begin(ORLOP_EVENT_REFUSED, pod_idx, ORLOP_DIRECTION_IN);
	if (e) {
		e->reason = reason;
		e->src = tuple->src;
		e->src_port = tuple->src_port;
		e->dst = tuple->dst;
		e->dst_port = tuple->dst_port;
		event_end(e);
	}
	return SK_DROP;
}

static __always_inline __u32 verdict_of(__u32 pod_idx, __be16 port)
{
	struct orlop_in_key key = {.pod_idx = pod_idx, .port = port};
	__u32 *said = bpf_map_lookup_elem(&in_by_port, &key);

	if (!said) {
		key.port = 0;
		said = bpf_map_lookup_elem(&in_by_port, &key);
	}
	return said ? *said : ORLOP_IN_REFUSE; /* nobody has said anything yet: closed */
}

SEC("sk_lookup")
int orlop_sk_lookup(struct bpf_sk_lookup *ctx)
{
	struct orlop_tuple tuple = {};
	struct orlop_pod_ip *pod;
	struct orlop_socket_key key = {};
	struct bpf_sock *listener;
	__u32 verdict, port = ctx->local_port;
	long failed;

	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS; /* UDP is not meshed (D2.6) */
	if (ctx->family == AF_INET) {
		tuple.src = addr_of_v4(CTX(ctx, remote_ip4));
		tuple.dst = addr_of_v4(CTX(ctx, local_ip4));
	} else {
		tuple.src = addr_of_words(CTX(ctx, remote_ip6[0]), CTX(ctx, remote_ip6[1]),
					  CTX(ctx, remote_ip6[2]), CTX(ctx, remote_ip6[3]));
		tuple.dst = addr_of_words(CTX(ctx, local_ip6[0]), CTX(ctx, local_ip6[1]),
					  CTX(ctx, local_ip6[2]), CTX(ctx, local_ip6[3]));
	}
	tuple.src_port = ctx->remote_port;
	tuple.dst_port = bpf_htons((__u16)port);

	/* Within the pod. The interface is no test: a pod dialling its own address shows eth0's index, not
	 * lo's. Nobody outside can have a loopback address as source or destination, nor the pod's own as
	 * source: the kernel drops such packets as martians before they come here. */
	if (addr_is_local(&tuple.dst) || addr_equal(&tuple.src, &tuple.dst)) {
		count(ORLOP_COUNT_IN_LOCAL);
		return SK_PASS;
	}
	if (bpf_map_lookup_elem(&agent_flow, &tuple)) {
		count(ORLOP_COUNT_IN_AGENT_FLOW);
		return SK_PASS; /* judged already, by the agent that dials */
	}
	pod = bpf_map_lookup_elem(&pod_by_ip, &tuple.dst);
	if (!pod)
		return refuse(
		    &tuple, 0,
		    ORLOP_COUNT_IN_REFUSED_UNKNOWN); /* the namespace is enrolled, the address is not */
	if (port == ORLOP_PORT_HBONE) {
		count(ORLOP_COUNT_IN_HBONE);
		return SK_PASS; /* our own listener: it asks for a certificate */
	}
	if (port == ORLOP_PORT_OUTBOUND || port == ORLOP_PORT_INBOUND)
		return refuse(&tuple, pod->pod_idx, ORLOP_COUNT_IN_REFUSED_PORT);

	verdict = verdict_of(pod->pod_idx, tuple.dst_port);
	if (verdict == ORLOP_IN_PASS) {
		count(ORLOP_COUNT_IN_PASSED);
		return SK_PASS; /* PERMISSIVE and free of policy: open, as the evaluator said */
	}
	if (verdict != ORLOP_IN_AGENT)
		return refuse(&tuple, pod->pod_idx, ORLOP_COUNT_IN_REFUSED_STRICT); /* STRICT: closed */

	key.pod_idx = pod->pod_idx;
	key.family = ctx->family == AF_INET ? 4 : 6;
	listener = bpf_map_lookup_elem(&inbound_socket, &key);
	if (!listener)
		return refuse(&tuple, pod->pod_idx,
			      ORLOP_COUNT_IN_REFUSED_NO_LISTENER); /* closed, never past the agent */
	failed = bpf_sk_assign(ctx, listener, 0);
	bpf_sk_release(listener);
	if (failed)
		return refuse(&tuple, pod->pod_idx, ORLOP_COUNT_IN_REFUSED_NO_LISTENER);
	count(ORLOP_COUNT_IN_TO_AGENT);
	return SK_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
