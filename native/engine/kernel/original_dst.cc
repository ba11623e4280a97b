// 5 · data thread · raw bpf(2) on a borrowed map; this process links no libbpf and may create no map.
#include "engine/kernel/original_dst.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace orlop {

bool TakeOriginalDestination(int map_fd, uint64_t netns_cookie, const Endpoint& source,
                             Endpoint* destination) {
  if (map_fd < 0) return false;
  orlop_flow key{};
  key.netns_cookie = netns_cookie;
  key.src = source.addr;
  key.src_port = htons(source.port);
  orlop_dst value{};
  bpf_attr attr{};
  attr.map_fd = static_cast<uint32_t>(map_fd);
  attr.key = reinterpret_cast<uintptr_t>(&key);
  attr.value = reinterpret_cast<uintptr_t>(&value);
  // Lookup and delete in two calls: hash maps learned the combined one in 5.14 only. Nobody else deletes an
  // accepted flow, and the source port cannot be used again while this connection lives.
  if (syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &attr, sizeof attr) != 0) return false;
  attr.value = 0;
  syscall(SYS_bpf, BPF_MAP_DELETE_ELEM, &attr, sizeof attr);
  destination->addr = value.addr;
  destination->port = ntohs(value.port);
  return true;
}

}  // namespace orlop
