/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every map: who writes, who reads, why that type, what full means. Sizes are defaults; the keeper may
 * set others before the load. All are pinned, so that a later keeper's programs go on with the same state.
 * Weak: each hook is its own object file, and the linker folds these definitions together. */
#ifndef ORLOP_MAPS_BPF_H
#define ORLOP_MAPS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "orlop_abi.h"

/* Keeper writes, connect and sockops read. Full: the keeper cannot enrol and says so. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct orlop_pod);
} pod_by_netns SEC(".maps") __weak;

/* Keeper writes, sk_lookup reads: it runs without a socket, hence without a namespace cookie. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct orlop_addr);
	__type(value, struct orlop_pod_ip);
} pod_by_ip SEC(".maps") __weak;

/* The truth about one socket; dies with it, so it cannot be evicted or go stale. Keeper tags the agent's
 * sockets; connect and sockops write the rest. BPF_F_CLONE: what a tagged listener accepts is tagged, too.
 * Full (the socket's option memory): connect refuses. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct orlop_sock);
} dst_of_sock SEC(".maps") __weak;

/* sockops writes, the agent reads and deletes. No LRU: an evicted entry would be a guess. Preallocated:
 * it is written in soft interrupts. Full: counted; the agent finds nothing and resets the connection. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct orlop_flow);
	__type(value, struct orlop_dst);
} dst_of_flow SEC(".maps") __weak;

/* sockops writes and deletes. Full: as a full dst_of_flow. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct orlop_flow);
	__type(value, __u32);
} pending_flow SEC(".maps") __weak;

/* Hooks write, the keeper reads and sets to zero. As many entries as there may be pods. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4097);
	__type(key, __u32);
	__type(value, struct orlop_usage);
} pod_usage SEC(".maps") __weak;

/* sockops writes and deletes, sk_lookup reads. Full: counted; the agent's dial is judged as plaintext. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct orlop_tuple);
	__type(value, struct orlop_admitted);
} agent_flow SEC(".maps") __weak;

/* sockops writes and deletes, sk_lookup reads. Full: counted; the connection is judged as plaintext. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct orlop_tuple);
	__type(value, struct orlop_joined);
} joined_flow SEC(".maps") __weak;

/* Keeper writes, node_access and sk_lookup read. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct orlop_node_access);
} node_access SEC(".maps") __weak;

/* The same. Full: the keeper lets nobody in and says so. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u64);
	__type(value, __u32);
} node_cgroup SEC(".maps") __weak;

/* Agent writes, node_access and sk_lookup read; the keeper deletes what was said of a pod that is gone. Full: counted
 * by the agent; nobody of the node is let in to that port. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct orlop_in_key);
	__type(value, __u32);
} node_port SEC(".maps") __weak;

/* node_access and sockops write and delete, sk_lookup reads. No LRU: a flood must not push out a probe's entry. Full:
 * counted; the connection is judged as plaintext. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct orlop_tuple);
	__type(value, struct orlop_node_flow);
} node_flow SEC(".maps") __weak;

/* Agent writes, connect and sockops read; the keeper deletes what was said of a pod that is gone. Full: the
 * agent takes the connection. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct orlop_pair_key);
	__type(value, __u32);
} pair_verdict SEC(".maps") __weak;

/* The same for virtual addresses. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct orlop_vip_key);
	__type(value, struct orlop_backends);
} vip_backends SEC(".maps") __weak;

/* Agent writes, sk_lookup reads. Full: the agent cannot write, a miss refuses. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct orlop_in_key);
	__type(value, __u32);
} in_by_port SEC(".maps") __weak;

/* Agent writes, connect reads. For 100,000 workloads with two addresses each, and Services. Full: the pod's fail mode
 * decides, and nothing counts as outside the mesh. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 524288);
	__type(key, struct orlop_out_key);
	__type(value, __u32);
} out_by_dst SEC(".maps") __weak;

/* Keeper writes the limit, the agent the beat, connect reads. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct orlop_gate);
} gate SEC(".maps") __weak;

/* Keeper writes, sk_lookup reads. Three listeners per pod and family. Listening sockets keep their default
 * operations in here. A closed listener leaves by itself; missing: sk_lookup refuses. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 8192);
	__type(key, struct orlop_socket_key);
	__type(value, __u64);
} inbound_socket SEC(".maps") __weak;

/* Hooks write, the agent sums over CPUs. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ORLOP_COUNT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps") __weak;

/* sockops writes, the agent sums. Full: counted, the connection itself is untouched. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct orlop_traffic_key);
	__type(value, struct orlop_traffic);
} traffic SEC(".maps") __weak;

/* Hooks write, the agent reads. Full: counted, the event is lost. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} events SEC(".maps") __weak;

#endif
