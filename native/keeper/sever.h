// keeper · ends connections that nobody sits in between of, once they are no longer allowed.
#pragma once

#include <bpf/bpf.h>

#include <cstdint>
#include <string>

#include "orlop_abi.h"

namespace orlop {

// A kernel map, by descriptor, whose keys and values have these types. The kernel writes as many bytes as its map has, so `Fits` is
// asked before the first look-up.
template <typename Key, typename Value>
struct Table {
  int fd;
  bool Fits() const {
    struct bpf_map_info info = {};
    uint32_t size = sizeof(info);
    return bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && info.key_size == sizeof(Key) &&
           info.value_size == sizeof(Value);
  }
  bool Find(const Key& key, Value* out) const { return bpf_map_lookup_elem(fd, &key, out) == 0; }
};

// What the hooks keep.
struct SeverMaps {
  int socks;  // dst_of_sock
  Table<orlop_pair_key, uint32_t> pairs;
  Table<orlop_in_key, uint32_t> plaintext;
  Table<orlop_addr, orlop_pod_ip> pods;
  Table<orlop_tuple, orlop_admitted> agent_flows;
  Table<orlop_tuple, orlop_joined> joined_flows;
  Table<orlop_out_key, uint32_t> destinations;
  Table<orlop_tuple, orlop_node_flow> node_flows;
  Table<uint32_t, orlop_node_access> node_access;
  Table<uint64_t, uint32_t> node_cgroups;
  Table<orlop_in_key, uint32_t> node_ports;
  uint32_t
      pod_idx;  // of the pod whose namespace it is. 0: it has left the mesh, and only joined connections end
};

// Asks the kernel for all sockets in the calling thread's namespace, a pod's, and ends those that bypass the agent
// and that a new connection would not be allowed to be:
// - joined ones, at either end, unless pair_verdict says JOIN or STAY of the pods that the two ends are now
// - plaintext that the application accepted, under whatever index or before there was any, unless in_by_port lets it pass
//   or it is of a program of the node that is let in now
// - requests whose handshake has begun, unless in_by_port lets them pass, or sends them to the agent's listener and they are with it
// - what went direct (OUTSIDE) to a destination that out_by_dst has now
// What the agent carries, what the pod dialled in plaintext otherwise, and connections within the namespace stay. It needs no
// memory of what was opened. 0 or -errno, with the failing call in `step`; -EINVAL: a map is another than its name says.
int Sever(const SeverMaps& maps, uint32_t* ended, std::string* step);

// Ends every connection in the calling thread's namespace that bypasses the agent according to `socks`, the
// dst_of_sock of another layout version: joined to a pod of the node, or plaintext that was let pass. Nobody
// judges them once that map is gone.
int EndMarked(int socks, uint32_t* ended, std::string* step);

}  // namespace orlop
