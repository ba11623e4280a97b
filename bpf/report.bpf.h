/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* 2 · Opening, end, failure and bytes of each application connection: sums per pod and port, and an event where no agent
 * tells of it. */
#ifndef ORLOP_REPORT_BPF_H
#define ORLOP_REPORT_BPF_H

#include <bpf/bpf_helpers.h>
#include "count.bpf.h"
#include "ends.bpf.h"
#include "maps.bpf.h"
#include "usage.bpf.h"

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
		event_submit(event);
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
	event_submit(event);
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
		event_submit(event);
}

#endif
