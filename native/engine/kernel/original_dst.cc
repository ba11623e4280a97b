// 5 · data thread · bpf(2) on a borrowed map; this process links no libbpf and may create no map.
#include "engine/kernel/original_dst.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

namespace orlop {

void OriginalDestinations::SetMap(int map_fd) {
  map_.reset(fcntl(map_fd, F_DUPFD_CLOEXEC, 3));
}

bool OriginalDestinations::Take(uint64_t netns_cookie, const Endpoint& source, const Endpoint& listener,
                                Endpoint* destination) const {
  if (!map_) return false;
  orlop_flow key{};
  key.netns_cookie = netns_cookie;
  key.src = source.addr;
  key.src_port = htons(source.port);
  std::memcpy(&key.listener, listener.addr.bytes + sizeof listener.addr.bytes - sizeof key.listener,
              sizeof key.listener);
  orlop_dst value{};
  bpf_attr attr{};
  attr.map_fd = static_cast<uint32_t>(map_.get());
  attr.key = reinterpret_cast<uintptr_t>(&key);
  attr.value = reinterpret_cast<uintptr_t>(&value);
  // In two calls: the combined call is a command of its own, which the seccomp profile of a node may not know yet. Nobody else deletes
  // an accepted flow, and the source port cannot be used again towards the same address of ours while this connection lives.
  if (syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &attr, sizeof attr) != 0) return false;
  attr.value = 0;
  syscall(SYS_bpf, BPF_MAP_DELETE_ELEM, &attr, sizeof attr);
  destination->addr = value.addr;
  destination->port = ntohs(value.port);
  return true;
}

}  // namespace orlop
