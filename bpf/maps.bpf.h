/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every map: who writes, who reads, why that type, what full means. Each object defines the same maps;
 * `bpftool gen object` merges them into one. Sizes are the defaults; the keeper may shrink them for tests. */
#ifndef ORLOP_MAPS_BPF_H
#define ORLOP_MAPS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "orlop_abi.h"

/* Written by the keeper at capture. Read by every hook on the pods' cgroup. Full: the keeper refuses to
 * enrol. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct orlop_pod);
} pod_by_netns SEC(".maps") __weak;

/* Written by the keeper before the sk_lookup link. Read by sk_lookup. Full: the keeper refuses to enrol. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct orlop_addr);
	__type(value, struct orlop_pod_ip);
} pod_by_ip SEC(".maps") __weak;

/* Socket storage: lives as long as the socket, needs no removal, cannot be evicted. Written by connect and
 * sockops, and by the keeper for the sockets it makes. No memory: connect refuses. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct orlop_sock);
} dst_of_sock SEC(".maps") __weak;

/* Written by sockops, read and deleted by the agent after accept. A plain hash, not LRU: a fresh entry that
 * vanished would have to be guessed. Full: the entry is missing, and the agent resets the connection. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct orlop_flow);
	__type(value, struct orlop_dst);
} dst_of_flow SEC(".maps") __weak;

/* Written and deleted by sockops, read by sk_lookup. Full: sk_lookup does not know the flow and judges it as
 * plaintext. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct orlop_tuple);
	__type(value, __u64);
} agent_flow SEC(".maps") __weak;

/* Written by the agent from the evaluator's word. Read by sk_lookup. A miss refuses. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct orlop_in_key);
	__type(value, __u32);
} in_by_port SEC(".maps") __weak;

/* Written by the agent from the evaluator's word. Read by connect while the heartbeat is late. A miss: the
 * pod's flag. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct orlop_out_key);
	__type(value, __u32);
} out_by_dst SEC(".maps") __weak;

/* beat_ns by the agent, limit_ns by the keeper. Read by connect. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct orlop_gate);
} gate SEC(".maps") __weak;

/* The held listener of :15006 of each pod and family. Written by the keeper, read by sk_lookup. Listeners
 * only: children get their ordinary operations back, so no application socket is ever in a sockmap. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 8192);
	__type(key, struct orlop_socket_key);
	__type(value, __u64);
} inbound_socket SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ORLOP_COUNT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps") __weak;

/* Written by sockops, read by the agent. Full: counted, the flow itself is not affected. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct orlop_traffic_key);
	__type(value, struct orlop_traffic);
} traffic SEC(".maps") __weak;

/* Written by every hook, read by the agent. Full: the event is lost and counted. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps") __weak;

#endif
