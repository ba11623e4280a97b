/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* 2 · cgroup/sockops · publish flow → original destination at TCP_CONNECT_CB, before the SYN leaves; count
 * each application connection's opening, end or failure. Two programs: one on an ancestor of the pods, for
 * what applications open and accept; one on the keeper's cgroup, for what the agent opens with the keeper's
 * sockets. Neither can refuse: what they fail to publish is refused by whoever looks for it. */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "addr.bpf.h"
#include "count.bpf.h"
#include "emit.bpf.h"
#include "maps.bpf.h"

enum { SOCKOPS_DONE = 1 };

static __always_inline struct orlop_addr local_addr(struct bpf_sock_ops *ctx)
{
	if (ctx->family == AF_INET)
		return addr_of_v4(CTX(ctx, local_ip4));
	return addr_of_words(CTX(ctx, local_ip6[0]), CTX(ctx, local_ip6[1]), CTX(ctx, local_ip6[2]),
			     CTX(ctx, local_ip6[3]));
}

static __always_inline struct orlop_addr remote_addr(struct bpf_sock_ops *ctx)
{
	if (ctx->family == AF_INET)
		return addr_of_v4(CTX(ctx, remote_ip4));
	return addr_of_words(CTX(ctx, remote_ip6[0]), CTX(ctx, remote_ip6[1]), CTX(ctx, remote_ip6[2]),
			     CTX(ctx, remote_ip6[3]));
}

/* local_port is in host order, remote_port in wire order in the upper half of its word. */
static __always_inline __be16 local_port(struct bpf_sock_ops *ctx)
{
	return bpf_htons((__u16)ctx->local_port);
}

static __always_inline __be16 remote_port(struct bpf_sock_ops *ctx)
{
	return bpf_htons((__u16)bpf_ntohl(ctx->remote_port));
}

static __always_inline struct orlop_tuple tuple_dialled(struct bpf_sock_ops *ctx)
{
	struct orlop_tuple t = {.src = local_addr(ctx),
				.dst = remote_addr(ctx),
				.src_port = local_port(ctx),
				.dst_port = remote_port(ctx)};
	return t;
}

static __always_inline struct orlop_tuple tuple_accepted(struct bpf_sock_ops *ctx)
{
	struct orlop_tuple t = {.src = remote_addr(ctx),
				.dst = local_addr(ctx),
				.src_port = remote_port(ctx),
				.dst_port = local_port(ctx)};
	return t;
}

static __always_inline void watch_states(struct bpf_sock_ops *ctx)
{
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline __u32 direction_of(const struct orlop_sock *s)
{
	return s->flags & ORLOP_SOCK_PASSIVE ? ORLOP_DIRECTION_IN : ORLOP_DIRECTION_OUT;
}

static __always_inline struct orlop_traffic *traffic_of(const struct orlop_sock *s)
{
	static const struct orlop_traffic none;
	struct orlop_traffic_key key = {
	    .pod_idx = s->pod_idx, .direction = (__u16)direction_of(s), .port = s->dst_port};
	struct orlop_traffic *t = bpf_map_lookup_elem(&traffic, &key);

	if (t)
		return t;
	bpf_map_update_elem(&traffic, &key, &none, BPF_NOEXIST);
	t = bpf_map_lookup_elem(&traffic, &key);
	if (!t)
		count(ORLOP_COUNT_TRAFFIC_MAP_FULL);
	return t;
}

/* The ends of the connection as the application sees them. */
static __always_inline void fill_ends(struct bpf_sock_ops *ctx, const struct orlop_sock *s,
				      struct orlop_event *e)
{
	e->sock_cookie = bpf_get_socket_cookie(ctx);
	e->flags = s->flags;
	e->dst = s->dst;
	e->dst_port = s->dst_port;
	if (s->flags & ORLOP_SOCK_PASSIVE) {
		e->src = remote_addr(ctx);
		e->src_port = remote_port(ctx);
	} else {
		e->src = local_addr(ctx);
		e->src_port = local_port(ctx);
	}
}

static __always_inline void opened(struct bpf_sock_ops *ctx, struct orlop_sock *s)
{
	struct orlop_traffic *t;
	struct orlop_event *e;

	s->opened_ns = bpf_ktime_get_ns();
	s->flags |= ORLOP_SOCK_OPENED;
	t = traffic_of(s);
	if (t)
		t->opened++;
	e = event_begin(ORLOP_EVENT_OPEN, s->pod_idx, direction_of(s));
	if (e) {
		fill_ends(ctx, s, e);
		event_end(e);
	}
}

static __always_inline void failed(struct bpf_sock_ops *ctx, const struct orlop_sock *s)
{
	struct orlop_traffic *t = traffic_of(s);
	struct orlop_event *e;

	if (t)
		t->failed++;
	e = event_begin(ORLOP_EVENT_FAIL, s->pod_idx, direction_of(s));
	if (e) {
		fill_ends(ctx, s, e);
		event_end(e);
	}
}

static __always_inline void closed(struct bpf_sock_ops *ctx, struct orlop_sock *s)
{
	__u64 sent = 0, received = 0, duration = bpf_ktime_get_ns() - s->opened_ns;
	__u32 srtt = 0, retransmits = 0;
	struct bpf_sock *sk = ctx->sk;
	struct bpf_tcp_sock *tcp = sk ? bpf_tcp_sock(sk) : NULL;
	struct orlop_traffic *t;
	struct orlop_event *e;

	s->flags &= ~ORLOP_SOCK_OPENED;
	if (tcp) {
		/* bytes_acked counts our SYN when we dialled. A FIN counts one more in either direction, and
		 * whether it has been counted yet cannot be told here: each figure may be one too high. */
		sent = tcp->bytes_acked;
		if (sent && !(s->flags & ORLOP_SOCK_PASSIVE))
			sent--;
		received = tcp->bytes_received;
		srtt = tcp->srtt_us >> 3;
		retransmits = tcp->total_retrans;
	}
	t = traffic_of(s);
	if (t) {
		t->closed++;
		t->sent_bytes += sent;
		t->received_bytes += received;
		t->duration_ns += duration;
		t->srtt_us_sum += srtt;
		t->retransmits += retransmits;
	}
	e = event_begin(ORLOP_EVENT_CLOSE, s->pod_idx, direction_of(s));
	if (e) {
		fill_ends(ctx, s, e);
		e->sent_bytes = sent;
		e->received_bytes = received;
		e->duration_ns = duration;
		e->srtt_us = srtt;
		e->retransmits = retransmits;
		event_end(e);
	}
}

/* An application dials: publish where it really wants to go, under the source that the agent will see. */
static __always_inline void app_connects(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct orlop_sock *s = bpf_sk_storage_get(&dst_of_sock, sk, 0, 0);
	__u64 cookie = bpf_get_netns_cookie(ctx);
	struct orlop_flow flow = {
	    .netns_cookie = cookie, .src = local_addr(ctx), .src_port = local_port(ctx)};
	struct orlop_dst dst = {};
	struct orlop_pod *pod;

	if (s && (s->flags & ORLOP_SOCK_AGENT))
		return; /* the other program's */
	if (s && (s->flags & ORLOP_SOCK_CAPTURED)) {
		watch_states(ctx);
		dst.addr = s->dst;
		dst.port = s->dst_port;
		dst.pod_idx = s->pod_idx;
		dst.sock_cookie = bpf_get_socket_cookie(ctx);
		if (bpf_map_update_elem(&dst_of_flow, &flow, &dst, BPF_ANY) == 0)
			count(ORLOP_COUNT_FLOW_PUBLISHED);
		else
			count(ORLOP_COUNT_FLOW_MAP_FULL); /* closed: the agent finds nothing and resets */
		return;
	}
	/* Let past the agent, or never left the pod: only the former is anybody's traffic. */
	pod = bpf_map_lookup_elem(&pod_by_netns, &cookie);
	dst.addr = remote_addr(ctx);
	if (!pod || addr_is_local(&dst.addr) || addr_equal(&dst.addr, &pod->ip4) ||
	    addr_equal(&dst.addr, &pod->ip6))
		return;
	s = bpf_sk_storage_get(&dst_of_sock, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!s)
		return; /* not counted, and nothing else depends on it */
	s->dst = dst.addr;
	s->dst_port = remote_port(ctx);
	s->pod_idx = pod->pod_idx;
	s->flags = 0;
	watch_states(ctx);
}

static __always_inline void app_accepts(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	__u64 cookie = bpf_get_netns_cookie(ctx);
	struct orlop_pod *pod = bpf_map_lookup_elem(&pod_by_netns, &cookie);
	struct orlop_tuple tuple = tuple_accepted(ctx);
	struct orlop_sock *s;
	__u32 port = ctx->local_port;

	if (!pod || port == ORLOP_PORT_OUTBOUND || port == ORLOP_PORT_INBOUND || port == ORLOP_PORT_HBONE)
		return;
	if (addr_is_local(&tuple.dst) || addr_equal(&tuple.src, &tuple.dst))
		return; /* within the pod */
	s = bpf_sk_storage_get(&dst_of_sock, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!s)
		return; /* not counted, and nothing else depends on it */
	s->dst = tuple.dst;
	s->dst_port = tuple.dst_port;
	s->pod_idx = pod->pod_idx;
	s->flags = ORLOP_SOCK_PASSIVE;
	/* Through the agent, which counts it itself: told apart by the tuple it published. */
	if (bpf_map_lookup_elem(&agent_flow, &tuple))
		s->flags |= ORLOP_SOCK_CAPTURED;
	watch_states(ctx);
	opened(ctx, s);
}

static __always_inline void app_changes_state(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct orlop_sock *s;

	if (ctx->args[1] != BPF_TCP_CLOSE)
		return;
	s = bpf_sk_storage_get(&dst_of_sock, sk, 0, 0);
	if (!s || (s->flags & ORLOP_SOCK_AGENT))
		return;
	if (ctx->args[0] == BPF_TCP_SYN_SENT) {
		/* Never accepted, so nobody will look it up. An established flow keeps its entry: the client
		 * may have connected, sent and closed before the agent came to accept. */
		if (s->flags & ORLOP_SOCK_CAPTURED) {
			struct orlop_flow flow = {.netns_cookie = bpf_get_netns_cookie(ctx),
						  .src = local_addr(ctx),
						  .src_port = local_port(ctx)};
			bpf_map_delete_elem(&dst_of_flow, &flow);
		}
		failed(ctx, s);
	} else if (s->flags & ORLOP_SOCK_OPENED) {
		closed(ctx, s);
	}
}

SEC("sockops")
int orlop_sockops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct orlop_sock *s;

	if (!sk)
		return SOCKOPS_DONE;
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		app_connects(ctx, sk);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		s = bpf_sk_storage_get(&dst_of_sock, sk, 0, 0);
		if (s && !(s->flags & ORLOP_SOCK_AGENT))
			opened(ctx, s);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		app_accepts(ctx, sk);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		app_changes_state(ctx, sk);
		break;
	}
	return SOCKOPS_DONE;
}

/* The agent dials: publish the tuple that sk_lookup shall admit, and take it back when the socket closes. */
SEC("sockops")
int orlop_agentops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct orlop_tuple tuple;
	struct orlop_sock *s;
	__u64 cookie;

	if (!sk || (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB && ctx->op != BPF_SOCK_OPS_STATE_CB))
		return SOCKOPS_DONE;
	s = bpf_sk_storage_get(&dst_of_sock, sk, 0, 0);
	if (!s || !(s->flags & ORLOP_SOCK_AGENT))
		return SOCKOPS_DONE;
	tuple = tuple_dialled(ctx);
	if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB) {
		cookie = bpf_get_socket_cookie(ctx);
		watch_states(ctx);
		if (bpf_map_update_elem(&agent_flow, &tuple, &cookie, BPF_ANY) == 0)
			count(ORLOP_COUNT_AGENT_FLOW_PUBLISHED);
		else
			count(ORLOP_COUNT_AGENT_FLOW_MAP_FULL); /* closed: sk_lookup will not know it */
	} else if (ctx->args[1] == BPF_TCP_CLOSE) {
		bpf_map_delete_elem(&agent_flow, &tuple);
	}
	return SOCKOPS_DONE;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
