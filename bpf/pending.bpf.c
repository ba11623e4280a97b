/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A pod that is expected: from the moment its cgroup is made until its network namespace has a guard, it exchanges nothing with
 * anybody but itself. Attached to the pod's own cgroup, so that no packet of another pod is looked at; the links go with the
 * cgroup. UDP and ICMP pass, as they do once the pod is captured: names may be resolved meanwhile. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "addr.bpf.h"
#include "count.bpf.h"
#include "gate.bpf.h"

#define SOCK_STREAM    1
#define PROTOCOL_MPTCP 262
/* Of the loopback device, in each network namespace (LOOPBACK_IFINDEX of Linux). */
#define LOOPBACK_INDEX 1
#define PACKET_DROP    0
#define PACKET_GO      1

/* An application hears at once that it has to try again. A SYN that is merely dropped is sent again by the kernel after the pod is captured,
 * from a socket that nothing has pointed at the agent. */
static __always_inline int refuse_connect(struct bpf_sock_addr *ctx, const struct orlop_addr *dst)
{
	__u32 protocol = ctx->protocol;

	/* Fail mode: open. Only TCP is meshed; other streams are dropped below. */
	if (ctx->type != SOCK_STREAM || (protocol != IPPROTO_TCP && protocol != PROTOCOL_MPTCP))
		return CONNECT_GO;
	/* Fail mode: open. Loopback does not leave the pod. */
	if (addr_is_loopback(dst))
		return CONNECT_GO;
	/* Fail mode: closed. */
	count(ORLOP_COUNT_PENDING_CONNECT);
	if (have_set_retval)
		bpf_set_retval(-ECONNREFUSED);
	return CONNECT_REFUSE;
}

SEC("cgroup/connect4")
int orlop_pending_connect4(struct bpf_sock_addr *ctx)
{
	struct orlop_addr dst = addr_from4(CTX(ctx, user_ip4));

	return refuse_connect(ctx, &dst);
}

SEC("cgroup/connect6")
int orlop_pending_connect6(struct bpf_sock_addr *ctx)
{
	struct orlop_addr dst = addr_from6(CTX(ctx, user_ip6[0]), CTX(ctx, user_ip6[1]),
					   CTX(ctx, user_ip6[2]), CTX(ctx, user_ip6[3]));

	return refuse_connect(ctx, &dst);
}

/* Whatever did not come by connect: a SYN to the pod's listener, a socket that was connected before, a raw socket. */
static __always_inline int judge_packet(struct __sk_buff *skb)
{
	__u8 protocol = 0;
	long err;

	/* Fail mode: open. The pod talks to itself. */
	if (skb->ifindex == LOOPBACK_INDEX)
		return PACKET_GO;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		err = bpf_skb_load_bytes(skb, offsetof(struct iphdr, protocol), &protocol, sizeof(protocol));
	else
		err = bpf_skb_load_bytes(skb, offsetof(struct ipv6hdr, nexthdr), &protocol, sizeof(protocol));
	/* Fail mode: open. Only TCP is meshed. */
	if (!err && (protocol == IPPROTO_UDP || protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6))
		return PACKET_GO;
	/* Fail mode: closed. TCP, and what may hide it: a header of extensions, a protocol that nobody knows. */
	count(ORLOP_COUNT_PENDING_PACKET);
	return PACKET_DROP;
}

SEC("cgroup_skb/ingress")
int orlop_pending_ingress(struct __sk_buff *skb)
{
	return judge_packet(skb);
}

SEC("cgroup_skb/egress")
int orlop_pending_egress(struct __sk_buff *skb)
{
	return judge_packet(skb);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
