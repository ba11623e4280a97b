/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One walk over the kernel's table of TCP connections for all pods of the node: which pods have a connection that may have
 * to end? sock_diag(7) shows one network namespace at a time, and walks the table of all namespaces for each. This walk ends
 * nothing: the keeper looks at the pods found here by sock_diag, which decides (native/keeper/sever.cc). In doubt a pod is
 * found. Run by the keeper, attached to nothing. An object of its own: a kernel that refuses it still has the hooks, and
 * the keeper then looks at every pod by sock_diag. */
#include <linux/bpf.h>
#include <linux/in6.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "addr.bpf.h"
#include "maps.bpf.h"
#include "node_access.bpf.h"
#include "survey_abi.h"

#define TCP_SYN_RECV	 3
#define TCP_TIME_WAIT	 6
#define TCP_NEW_SYN_RECV 12

/* Of the kernel's types only what is read here; libbpf looks the offsets up in the running kernel. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct hlist_node {
	struct hlist_node *next;
};
struct hlist_head {
	struct hlist_node *first;
};
struct hlist_nulls_node {
	struct hlist_nulls_node *next;
};
struct hlist_nulls_head {
	struct hlist_nulls_node *first;
};
struct inet_ehash_bucket {
	struct hlist_nulls_head chain;
};
struct inet_hashinfo {
	struct inet_ehash_bucket *ehash;
	unsigned int ehash_mask;
};
struct inet_timewait_death_row {
	struct inet_hashinfo *hashinfo;
};
struct netns_ipv4 {
	struct inet_timewait_death_row tcp_death_row;
};
struct net {
	__u64 net_cookie;
	struct netns_ipv4 ipv4;
};
struct nsproxy {
	struct net *net_ns;
};
struct task_struct {
	struct nsproxy *nsproxy;
};
typedef struct {
	struct net *net;
} possible_net_t;
struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	struct hlist_nulls_node skc_nulls_node;
};
struct bpf_local_storage_data {
	void *smap;
	__u8 data[];
};
struct bpf_local_storage_elem {
	struct hlist_node snode;
	struct bpf_local_storage_data sdata;
};
struct bpf_local_storage {
	struct hlist_head list;
};
struct sock {
	struct bpf_local_storage *sk_bpf_storage;
};
struct inet_request_sock {
	__u32 ir_mark;
};
#pragma clang attribute pop

/* More than a chain of the table can have. */
#define MAX_CHAIN (1 << 20)
/* Storages of one socket: ours and those of other programs of the node. */
#define MAX_STORAGES 16
#define MAX_TRIES    8

struct orlop_survey survey;
/* 8 bytes each: what a bucket of the table is. */
__u64 heads[ORLOP_SURVEY_GROUP];

/* A connection or request, as the hooks saw it arrive: from the other end to this socket. */
struct seen {
	struct orlop_tuple arrival;
	__u32 pod_idx;
	int state;
};

/* Of TCP Fast Open: a whole socket. */
static __always_inline int is_request(const struct seen *seen)
{
	return seen->state == TCP_NEW_SYN_RECV || seen->state == TCP_SYN_RECV;
}

enum { STORAGE_NONE, STORAGE_OURS, STORAGE_UNCLEAR };

static __always_inline int read_storage(const struct sock *sk, struct orlop_sock *out)
{
	struct bpf_local_storage *storage = BPF_CORE_READ(sk, sk_bpf_storage);
	struct bpf_local_storage_elem *elem;
	struct hlist_node *node;

	if (!storage)
		return STORAGE_NONE;
	node = BPF_CORE_READ(storage, list.first);
	for (int i = 0; i < MAX_STORAGES; i++) {
		if (!node)
			return STORAGE_NONE;
		elem = (void *)node - bpf_core_field_offset(struct bpf_local_storage_elem, snode);
		if (BPF_CORE_READ(elem, sdata.smap) == (void *)&dst_of_sock) {
			/* The value begins where the flexible array does. */
			if (bpf_probe_read_kernel(out, sizeof(*out), &elem->sdata.data))
				return STORAGE_UNCLEAR;
			return STORAGE_OURS;
		}
		node = BPF_CORE_READ(node, next);
	}
	return STORAGE_UNCLEAR;
}

/* What in_by_port says, as sk_lookup reads it. */
static __always_inline __u32 plaintext_verdict(__u32 pod_idx, __be16 port)
{
	struct orlop_in_key key = {.pod_idx = pod_idx, .port = port};
	__u32 *said = bpf_map_lookup_elem(&in_by_port, &key);

	if (!said) {
		key.port = 0;
		said = bpf_map_lookup_elem(&in_by_port, &key);
	}
	return said ? *said : ORLOP_IN_REFUSE;
}

static __always_inline __u32 pod_with(const struct orlop_addr *address)
{
	struct orlop_pod_ip *pod = bpf_map_lookup_elem(&pod_by_ip, address);

	return pod ? pod->pod_idx : 0;
}

static __always_inline int pair_may_stay(__u32 from, __u32 to, __be16 port)
{
	struct orlop_pair_key key = {.src_pod_idx = from, .dst_pod_idx = to, .port = port};
	__u32 *said = bpf_map_lookup_elem(&pair_verdict, &key);

	if (!said) {
		key.port = 0;
		said = bpf_map_lookup_elem(&pair_verdict, &key);
	}
	return said && (*said == ORLOP_PAIR_JOIN || *said == ORLOP_PAIR_STAY);
}

static __always_inline int node_may_stay(__u32 pod_idx, __u64 cgroup, __be16 port)
{
	struct orlop_node_access *access = node_access_on();

	if (!access)
		return 0;
	if (cgroup == 0 ? !access->everybody : !bpf_map_lookup_elem(&node_cgroup, &cgroup))
		return 0;
	return node_port_open(pod_idx, port);
}

static __always_inline int outside_may_stay(const struct orlop_sock *sock)
{
	struct orlop_out_key key = {.dst = sock->dst, .port = sock->dst_port};

	if (bpf_map_lookup_elem(&out_by_dst, &key))
		return 0;
	key.port = 0;
	return !bpf_map_lookup_elem(&out_by_dst, &key);
}

/* The hooks keep nothing of it. */
static __always_inline int unmarked_may_stay(const struct seen *seen, const struct sock_common *sk)
{
	const struct orlop_tuple *arrival = &seen->arrival;
	struct orlop_joined *joined;
	__u32 said;

	if (addr_is_loopback(&arrival->src) || addr_is_loopback(&arrival->dst) ||
	    addr_equal(&arrival->src, &arrival->dst))
		return 1;
	if (arrival->dst_port == bpf_htons(ORLOP_PORT_OUTBOUND) ||
	    arrival->dst_port == bpf_htons(ORLOP_PORT_INBOUND) ||
	    arrival->dst_port == bpf_htons(ORLOP_PORT_HBONE))
		return 1;
	if (is_request(seen)) {
		if (bpf_map_lookup_elem(&agent_flow, arrival))
			return 1;
		joined = bpf_map_lookup_elem(&joined_flow, arrival);
		if (joined)
			return pair_may_stay(joined->src_pod_idx, seen->pod_idx, arrival->dst_port);
	}
	said = plaintext_verdict(seen->pod_idx, arrival->dst_port);
	if (said == ORLOP_IN_AGENT && seen->state == TCP_NEW_SYN_RECV)
		return BPF_CORE_READ((struct inet_request_sock *)sk, ir_mark) == ORLOP_INBOUND_MARK;
	/* Whether the pod dialled it, or both ends are in the pod, sock_diag finds out. */
	return said == ORLOP_IN_PASS;
}

static __always_inline int marked_may_stay(const struct seen *seen, const struct orlop_sock *sock)
{
	__be16 local_port = seen->arrival.dst_port;

	if (sock->flags & ORLOP_SOCK_PASSIVE) {
		int listed;

		if (sock->flags & (ORLOP_SOCK_AGENT | ORLOP_SOCK_FROM_AGENT))
			return 1;
		listed = pod_with(&seen->arrival.dst) != 0;
		if (sock->flags & ORLOP_SOCK_FROM_NODE && listed &&
		    node_may_stay(seen->pod_idx, sock->node_cgroup, local_port))
			return 1;
		if (!(sock->flags & ORLOP_SOCK_JOINED))
			return plaintext_verdict(seen->pod_idx, local_port) == ORLOP_IN_PASS;
		return listed && sock->pod_idx == seen->pod_idx &&
		       pair_may_stay(pod_with(&seen->arrival.src), seen->pod_idx, local_port);
	}
	if (sock->flags & ORLOP_SOCK_OUTSIDE)
		return outside_may_stay(sock);
	if (!(sock->flags & ORLOP_SOCK_JOINED))
		return 1;
	return sock->pod_idx == seen->pod_idx && pod_with(&sock->to) == sock->to_pod_idx &&
	       pair_may_stay(sock->pod_idx, sock->to_pod_idx, sock->to_port);
}

static __always_inline void read_arrival(const struct sock_common *sk, struct orlop_tuple *out)
{
	if (BPF_CORE_READ(sk, skc_family) == AF_INET) {
		out->src = addr_from4(BPF_CORE_READ(sk, skc_daddr));
		out->dst = addr_from4(BPF_CORE_READ(sk, skc_rcv_saddr));
	} else {
		BPF_CORE_READ_INTO(&out->src, sk, skc_v6_daddr);
		BPF_CORE_READ_INTO(&out->dst, sk, skc_v6_rcv_saddr);
	}
	out->src_port = BPF_CORE_READ(sk, skc_dport);
	out->dst_port = bpf_htons(BPF_CORE_READ(sk, skc_num));
}

/* Fail mode: a socket that cannot be read reads as zeros, and is in no namespace; it has been freed meanwhile. */
static __always_inline void look_at(const struct sock_common *sk)
{
	struct net *net = BPF_CORE_READ(sk, skc_net.net);
	__u64 cookie = BPF_CORE_READ(net, net_cookie);
	struct orlop_pod *pod = bpf_map_lookup_elem(&pod_by_netns, &cookie);
	int state = BPF_CORE_READ(sk, skc_state), storage = STORAGE_NONE, may_stay;
	struct orlop_sock sock = {};
	struct seen seen = {};
	__u8 *said;

	if (!pod || state == TCP_TIME_WAIT)
		return;
	seen.pod_idx = OPAQUE(pod->pod_idx);
	if (seen.pod_idx >= ORLOP_SURVEY_PODS)
		return;
	said = OPAQUE(&survey.pods[seen.pod_idx]);
	/* Not asked for, or found already. */
	if (*said != ORLOP_SURVEY_ASKED)
		return;
	seen.state = state;
	read_arrival(sk, &seen.arrival);
	if (state != TCP_NEW_SYN_RECV)
		storage = read_storage((const struct sock *)sk, &sock);
	if (storage == STORAGE_OURS)
		may_stay = marked_may_stay(&seen, &sock);
	else
		may_stay = storage == STORAGE_NONE && unmarked_may_stay(&seen, sk);
	if (!may_stay)
		*said = ORLOP_SURVEY_FOUND;
}

static long next_in_chain(__u32 nth, __u64 *node)
{
	__u64 at = *node;

	(void)nth;
	if (at & 1)
		return 1;
	look_at((void *)at - bpf_core_field_offset(struct sock_common, skc_nulls_node));
	/* An end that no chain has, so that the chain is walked again. */
	if (bpf_probe_read_kernel(node, sizeof(*node), (void *)at))
		*node = ~0ull;
	return 0;
}

/* Walked without the chain's lock: a socket may leave it and come into another chain meanwhile, and this walk with it; and what
 * comes into this chain comes in at its head. So the walk must end where this chain does, and find the head as it was. */
__attribute__((noinline)) int walk_chain(__u32 bucket)
{
	void *head = (void *)survey.ehash + (__u64)bucket * sizeof(__u64);
	__u64 first, node, after;

	for (int i = 0; i < MAX_TRIES; i++) {
		first = after = node = ~0ull;
		bpf_probe_read_kernel(&first, sizeof(first), head);
		node = first;
		bpf_loop(MAX_CHAIN, next_in_chain, &node, 0);
		bpf_probe_read_kernel(&after, sizeof(after), head);
		if (node & 1 && node >> 1 == bucket && first == after)
			return 0;
	}
	survey.torn = 1;
	return 0;
}

static long walk_group(__u32 nth, void *unused)
{
	__u32 bucket = survey.from + nth * ORLOP_SURVEY_GROUP;

	(void)unused;
	if (bpf_probe_read_kernel(heads, sizeof(heads),
				  (void *)survey.ehash + (__u64)bucket * sizeof(__u64))) {
		survey.torn = 1;
		return 1;
	}
	for (__u32 i = 0; i < ORLOP_SURVEY_GROUP; i++)
		if (!(heads[i] & 1))
			walk_chain(bucket + i);
	return 0;
}

/* Which table has the connections of this thread's network namespace, and which pod that is. */
SEC("raw_tp")
int orlop_find_table(void *ctx __attribute__((unused)))
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct net *net = BPF_CORE_READ(task, nsproxy, net_ns);
	struct inet_hashinfo *table = BPF_CORE_READ(net, ipv4.tcp_death_row.hashinfo);
	__u64 cookie = BPF_CORE_READ(net, net_cookie);
	struct orlop_pod *pod = bpf_map_lookup_elem(&pod_by_netns, &cookie);

	survey.pod_idx = pod ? pod->pod_idx : 0;
	survey.ehash = (__u64)BPF_CORE_READ(table, ehash);
	survey.mask = BPF_CORE_READ(table, ehash_mask);
	return 0;
}

/* A part of that table: `groups` times ORLOP_SURVEY_GROUP buckets from `from` on. */
SEC("raw_tp")
int orlop_survey_table(void *ctx __attribute__((unused)))
{
	bpf_loop(survey.groups, walk_group, NULL, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
