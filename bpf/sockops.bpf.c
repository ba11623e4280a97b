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
#include "count.bpf.h"
#include "ends.bpf.h"
#include "gate.bpf.h"
#include "maps.bpf.h"
#include "node_access.bpf.h"
#include "same_node.bpf.h"

/* As the end that dials sees it. */
static __always_inline void fill_flow(struct orlop_flow *flow, struct bpf_sock_ops *ctx, const struct ends *e)
{
	__builtin_memset(flow, 0, sizeof(*flow));
	flow->netns_cookie = bpf_get_netns_cookie(ctx);
	flow->src = e->local;
	flow->src_port = e->local_port;
	flow->listener = addr_word(&e->remote, 3);
}

/* The agent sits in between, and tells of it itself. */
static __always_inline int through_agent(const struct orlop_sock *sock)
{
	return sock->flags & (ORLOP_SOCK_CAPTURED | ORLOP_SOCK_FROM_AGENT);
}

/* Sums are per CPU, but what adds may be interrupted there, or preempted: a plain addition would lose counts. */
static __always_inline void add(__u64 *sum, __u64 value)
{
	__sync_fetch_and_add(sum, value);
}

static __always_inline struct orlop_traffic *traffic_of(const struct orlop_sock *sock, __be16 service_port)
{
	struct orlop_traffic_key key = {
	    .pod_idx = sock->pod_idx,
	    .direction = sock->flags & ORLOP_SOCK_PASSIVE ? ORLOP_DIRECTION_IN : ORLOP_DIRECTION_OUT,
	    .port = service_port,
	};
	struct orlop_traffic *sums;

	if (through_agent(sock))
		key.direction |= ORLOP_TRAFFIC_AGENT;
	else if (sock->flags & ORLOP_SOCK_JOINED)
		key.direction |= ORLOP_TRAFFIC_JOINED;
	sums = bpf_map_lookup_elem(&traffic, &key);
	if (!sums) {
		struct orlop_usage *usage = usage_of(sock->pod_idx);
		struct orlop_traffic none = {};

		/* A pod that dials every port has a row for the first ones, and a row for all others. */
		if (!usage || AT_BOUND(usage->traffic, ORLOP_POD_TRAFFIC))
			key.port = 0;
		if (!bpf_map_update_elem(&traffic, &key, &none, BPF_NOEXIST) && usage)
			TAKE(usage->traffic);
		sums = bpf_map_lookup_elem(&traffic, &key);
		if (!sums)
			count(ORLOP_COUNT_TRAFFIC_MAP_FULL);
	}
	return sums;
}

/* NULL: the ring is full, or the end that dialled tells of this connection. */
static __always_inline struct orlop_event *event_of(struct bpf_sock_ops *ctx, __u32 type,
						    const struct orlop_sock *sock, const struct ends *e)
{
	struct orlop_event *event;

	if (sock->flags & ORLOP_SOCK_JOINED && sock->flags & ORLOP_SOCK_PASSIVE)
		return NULL;
	event = event_reserve(type, sock->pod_idx);
	if (!event)
		return NULL;
	event->sock_cookie = bpf_get_socket_cookie(ctx);
	event->flags = sock->flags;
	if (sock->flags & ORLOP_SOCK_PASSIVE) {
		event->direction = ORLOP_DIRECTION_IN;
		event->src = e->remote;
		event->src_port = e->remote_port;
		event->dst = e->local;
		event->dst_port = e->local_port;
	} else {
		event->direction = ORLOP_DIRECTION_OUT;
		event->src = e->local;
		event->src_port = e->local_port;
		event->dst = sock->dst;
		event->dst_port = sock->dst_port;
	}
	if (sock->flags & ORLOP_SOCK_JOINED) {
		event->to = sock->to;
		event->to_port = sock->to_port;
		event->to_pod_idx = sock->to_pod_idx;
	}
	return event;
}

/* The port a service is known by: what was dialled, or where it listens. */
static __always_inline __be16 service_port(const struct orlop_sock *sock, const struct ends *e)
{
	return sock->flags & ORLOP_SOCK_PASSIVE ? e->local_port : sock->dst_port;
}

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

static __always_inline void withdraw_announcement(const struct orlop_tuple *tuple)
{
	struct orlop_joined *joined = bpf_map_lookup_elem(&joined_flow, tuple);
	struct orlop_usage *usage = joined ? usage_of(joined->src_pod_idx) : NULL;

	if (usage && !bpf_map_delete_elem(&joined_flow, tuple))
		RETURN(usage->joined);
}

/* Judged once more: the socket can be found by who ends connections from here on, so that a verdict which
 * goes between the hook and this moment leaves none behind. Without an announcement it
 * is plaintext to sk_lookup. */
static __always_inline void announce(struct bpf_sock_ops *ctx, struct orlop_sock *sock, const struct ends *e)
{
	struct orlop_pod_ip *from = bpf_map_lookup_elem(&pod_by_ip, &e->local);
	struct orlop_joined joined = {
	    .sock_cookie = bpf_get_socket_cookie(ctx),
	    .src_pod_idx = sock->pod_idx,
	    .dst_pod_idx = sock->to_pod_idx,
	};
	struct orlop_usage *usage = usage_of(sock->pod_idx);
	struct orlop_tuple tuple;

	if (!from || from->pod_idx != sock->pod_idx || !addr_equal(&e->remote, &sock->to) ||
	    e->remote_port != sock->to_port || !pair_joins(sock->pod_idx, sock->to_pod_idx, sock->to_port)) {
		sock->flags &= ~ORLOP_SOCK_JOINED;
		count(ORLOP_COUNT_JOIN_WITHDRAWN);
		return;
	}
	fill_tuple(&tuple, &e->local, e->local_port, &e->remote, e->remote_port);
	/* Asked again: the hook may have let many sockets through before the first of them dials. */
	if (!usage || AT_BOUND(usage->joined, ORLOP_POD_JOINED)) {
		sock->flags &= ~ORLOP_SOCK_JOINED;
		count(ORLOP_COUNT_JOINED_BUDGET);
		return;
	}
	withdraw_announcement(&tuple);
	if (bpf_map_update_elem(&joined_flow, &tuple, &joined, BPF_NOEXIST)) {
		sock->flags &= ~ORLOP_SOCK_JOINED;
		count(ORLOP_COUNT_JOINED_MAP_FULL);
		return;
	}
	TAKE(usage->joined);
}

/* Nobody may use the announcement of a connection that has ended. */
static __always_inline void unannounce(const struct ends *e)
{
	struct orlop_tuple tuple;

	fill_tuple(&tuple, &e->local, e->local_port, &e->remote, e->remote_port);
	withdraw_announcement(&tuple);
}

/* 0: there was no such entry. */
static __always_inline int withdraw_dial(const struct orlop_tuple *tuple)
{
	struct orlop_admitted *admitted = bpf_map_lookup_elem(&agent_flow, tuple);
	struct orlop_usage *usage = admitted ? usage_of(admitted->pod_idx) : NULL;

	if (!usage || bpf_map_delete_elem(&agent_flow, tuple))
		return 0;
	RETURN(usage->dials);
	return 1;
}

/* The agent's dial to an application of a pod of this node. */
static __always_inline void admit_dial(struct bpf_sock_ops *ctx, const struct ends *e)
{
	struct orlop_admitted admitted = {.sock_cookie = bpf_get_socket_cookie(ctx)};
	__u64 netns = bpf_get_netns_cookie(ctx);
	struct orlop_pod *pod = bpf_map_lookup_elem(&pod_by_netns, &netns);
	struct orlop_usage *usage;
	struct orlop_tuple tuple;

	/* The agent dials inside the namespace of the pod; a dial in that of no known pod counts for index 0. */
	if (pod)
		admitted.pod_idx = pod->pod_idx;
	usage = usage_of(admitted.pod_idx);
	if (!usage || AT_BOUND(usage->dials, ORLOP_POD_DIALS)) {
		count(ORLOP_COUNT_AGENT_FLOW_BUDGET);
		return;
	}
	fill_tuple(&tuple, &e->local, e->local_port, &e->remote, e->remote_port);
	withdraw_dial(&tuple);
	if (bpf_map_update_elem(&agent_flow, &tuple, &admitted, BPF_NOEXIST)) {
		count(ORLOP_COUNT_AGENT_FLOW_MAP_FULL);
		return;
	}
	TAKE(usage->dials);
	count(ORLOP_COUNT_AGENT_FLOW_PUBLISHED);
	watch_states(ctx);
}

/* Ends the time in which this flow counts for its pod. 0: it had ended before. */
static __always_inline int settle(const struct orlop_flow *flow)
{
	__u32 *pod_idx = bpf_map_lookup_elem(&pending_flow, flow);
	struct orlop_usage *usage = pod_idx ? usage_of(*pod_idx) : NULL;

	if (!usage || bpf_map_delete_elem(&pending_flow, flow))
		return 0;
	RETURN(usage->flows);
	return 1;
}

/* Where a captured connection meant to go. Without it the agent resets what it accepts. */
static __always_inline void publish(struct bpf_sock_ops *ctx, const struct orlop_sock *sock,
				    const struct ends *e)
{
	struct orlop_usage *usage = usage_of(sock->pod_idx);
	struct orlop_dst dst = {
	    .addr = sock->dst,
	    .port = sock->dst_port,
	    .pod_idx = sock->pod_idx,
	    .sock_cookie = bpf_get_socket_cookie(ctx),
	};
	__u32 pod_idx = sock->pod_idx;
	struct orlop_flow flow;

	fill_flow(&flow, ctx, e);
	settle(&flow);
	/* Asked again: with TCP_FASTOPEN_CONNECT the hook has let many sockets through before the first dials. */
	if (!usage || AT_BOUND(usage->flows, ORLOP_POD_FLOWS)) {
		count(ORLOP_COUNT_FLOW_MAP_FULL);
		return;
	}
	if (bpf_map_update_elem(&pending_flow, &flow, &pod_idx, BPF_NOEXIST)) {
		count(ORLOP_COUNT_FLOW_MAP_FULL);
		return;
	}
	TAKE(usage->flows);
	if (bpf_map_update_elem(&dst_of_flow, &flow, &dst, BPF_ANY))
		count(ORLOP_COUNT_FLOW_MAP_FULL);
	else
		count(ORLOP_COUNT_FLOW_PUBLISHED);
}

/* The pod's end of a captured connection is gone. What the agent's listener established is the agent's to remove:
 * the client may be gone before the agent has accepted. */
static __always_inline void unpublish(struct bpf_sock_ops *ctx, const struct ends *e)
{
	struct orlop_flow flow;

	fill_flow(&flow, ctx, e);
	if (settle(&flow))
		bpf_map_delete_elem(&dst_of_flow, &flow);
}

/* The agent's listener has established a captured connection. */
static __always_inline void arrived(struct bpf_sock_ops *ctx, const struct ends *e)
{
	struct orlop_flow flow;

	__builtin_memset(&flow, 0, sizeof(flow));
	flow.netns_cookie = bpf_get_netns_cookie(ctx);
	flow.src = e->remote;
	flow.src_port = e->remote_port;
	flow.listener = addr_word(&e->local, 3);
	settle(&flow);
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

static __always_inline void opened(struct bpf_sock_ops *ctx, struct orlop_sock *sock, const struct ends *e)
{
	struct orlop_traffic *sums;
	struct orlop_event *event;

	sock->opened_ns = bpf_ktime_get_ns();
	sums = traffic_of(sock, service_port(sock, e));
	if (sums)
		add(&sums->opened, 1);
	if (through_agent(sock))
		return;
	event = event_of(ctx, ORLOP_EVENT_OPEN, sock, e);
	if (event)
		bpf_ringbuf_submit(event, 0);
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
	if (withdraw_dial(&tuple))
		sock->flags |= ORLOP_SOCK_FROM_AGENT;
	else if (withdraw_node_flow(&tuple, 0, &sock->node_cgroup))
		sock->flags |= ORLOP_SOCK_FROM_NODE;
	joined = bpf_map_lookup_elem(&joined_flow, &tuple);
	if (joined && joined->dst_pod_idx == pod->pod_idx) {
		sock->flags |= ORLOP_SOCK_JOINED;
		sock->to = e.local;
		sock->to_port = e.local_port;
		sock->to_pod_idx = pod->pod_idx;
		withdraw_announcement(&tuple);
	}
	watch_states(ctx);
	opened(ctx, sock, &e);
}

/* The kernel's byte counts include SYN and FIN. Ours sent a SYN if it dialled, and its FIN was acknowledged
 * in the states that say so; the other side's FIN came in before the states after it. FIN_WAIT2 does not tell
 * whether it has come: where our side closed first, received may be one too high. */
static __always_inline void count_bytes(struct bpf_tcp_sock *tcp, const struct orlop_sock *sock, __u32 from,
					__u64 *sent, __u64 *received)
{
	__u64 acked = tcp->bytes_acked, got = tcp->bytes_received, ours = 0, theirs = 0;

	if (!(sock->flags & ORLOP_SOCK_PASSIVE))
		ours++;
	if (from == BPF_TCP_FIN_WAIT2 ||
	    ((from == BPF_TCP_CLOSING || from == BPF_TCP_LAST_ACK) && tcp->snd_una == tcp->snd_nxt))
		ours++;
	if (from == BPF_TCP_CLOSE_WAIT || from == BPF_TCP_LAST_ACK || from == BPF_TCP_CLOSING)
		theirs++;
	*sent = acked > ours ? acked - ours : 0;
	*received = got > theirs ? got - theirs : 0;
}

static __always_inline void closed(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
				   const struct orlop_sock *sock, __u32 from)
{
	struct bpf_tcp_sock *tcp = bpf_tcp_sock(sk);
	__u64 sent = 0, received = 0, duration;
	__u32 srtt = 0, retransmits = 0;
	struct orlop_traffic *sums;
	struct orlop_event *event;
	struct ends e;

	if (tcp) {
		count_bytes(tcp, sock, from, &sent, &received);
		srtt = tcp->srtt_us >> 3; /* the kernel keeps eight times the value */
		retransmits = tcp->total_retrans;
	}
	duration = bpf_ktime_get_ns() - sock->opened_ns;
	read_ends(ctx, &e);
	sums = traffic_of(sock, service_port(sock, &e));
	if (sums) {
		add(&sums->closed, 1);
		add(&sums->sent_bytes, sent);
		add(&sums->received_bytes, received);
		add(&sums->duration_ns, duration);
		add(&sums->srtt_us_sum, srtt);
		add(&sums->retransmits, retransmits);
	}
	if (through_agent(sock))
		return;
	event = event_of(ctx, ORLOP_EVENT_CLOSE, sock, &e);
	if (!event)
		return;
	event->sent_bytes = sent;
	event->received_bytes = received;
	event->duration_ns = duration;
	event->srtt_us = srtt;
	event->retransmits = retransmits;
	bpf_ringbuf_submit(event, 0);
}

static __always_inline void failed(struct bpf_sock_ops *ctx, const struct orlop_sock *sock)
{
	struct orlop_traffic *sums;
	struct orlop_event *event;
	struct ends e;

	read_ends(ctx, &e);
	sums = traffic_of(sock, service_port(sock, &e));
	if (sums)
		add(&sums->failed, 1);
	event = event_of(ctx, ORLOP_EVENT_FAIL, sock, &e);
	if (event)
		bpf_ringbuf_submit(event, 0);
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
