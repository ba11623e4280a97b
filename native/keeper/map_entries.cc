// keeper · how full a map is.
#include "keeper/map_entries.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <utility>
#include <vector>

namespace orlop {
namespace {

// The first word of the consumer's and of the producer's page (Documentation/bpf/ringbuf.rst).
int64_t RingBytes(int fd) {
  const long page = sysconf(_SC_PAGESIZE);
  uint64_t at[2] = {};
  for (int i = 0; i < 2; i++) {
    void* memory = mmap(nullptr, static_cast<size_t>(page), PROT_READ, MAP_SHARED, fd, i * page);
    if (memory == MAP_FAILED) return -1;
    at[i] = __atomic_load_n(static_cast<uint64_t*>(memory), __ATOMIC_ACQUIRE);
    munmap(memory, static_cast<size_t>(page));
  }
  return static_cast<int64_t>(at[1] - at[0]);
}

}  // namespace

int64_t CountEntries(const struct bpf_map* map) {
  switch (bpf_map__type(map)) {
    case BPF_MAP_TYPE_ARRAY:
    case BPF_MAP_TYPE_PERCPU_ARRAY:
      return bpf_map__max_entries(map);
    case BPF_MAP_TYPE_RINGBUF:
      return RingBytes(bpf_map__fd(map));
    case BPF_MAP_TYPE_HASH:
    case BPF_MAP_TYPE_PERCPU_HASH:
    case BPF_MAP_TYPE_SOCKHASH:
      break;
    default:
      return -1;
  }
  std::vector<uint8_t> key(bpf_map__key_size(map)), next(key.size());
  const uint32_t max = bpf_map__max_entries(map);
  uint32_t count = 0;
  while (count < max &&
         bpf_map_get_next_key(bpf_map__fd(map), count == 0 ? nullptr : key.data(), next.data()) == 0) {
    std::swap(key, next);
    count++;
  }
  return count;
}

}  // namespace orlop
