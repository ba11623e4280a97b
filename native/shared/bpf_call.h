// any thread · bpf(2) itself, for code that works on map descriptors without libbpf. Knows no JavaScript.
#pragma once

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace orlop {

// The result, or -errno.
inline int Bpf(enum bpf_cmd command, union bpf_attr* attr) {
  const long result = syscall(__NR_bpf, command, attr, sizeof(*attr));
  return result < 0 ? -errno : static_cast<int>(result);
}

inline uint64_t BpfPointer(const void* pointer) {
  return reinterpret_cast<uint64_t>(pointer);
}

// What the kernel says of a map. 0 or -errno.
inline int ReadMapInfo(int fd, struct bpf_map_info* info) {
  *info = {};
  union bpf_attr attr = {};
  attr.info.bpf_fd = static_cast<uint32_t>(fd);
  attr.info.info_len = sizeof(*info);
  attr.info.info = BpfPointer(info);
  return Bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
}

}  // namespace orlop
