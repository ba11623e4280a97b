// keeper · the eBPF object: its maps pinned, its programs loaded; and copies of the sk_lookup program, each for
// a single pod. Knows no JavaScript.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "orlop.skel.h"

namespace orlop {

struct SkeletonDeleter {
  void operator()(struct orlop_bpf* skeleton) const { orlop_bpf__destroy(skeleton); }
};
using Skeleton = std::unique_ptr<struct orlop_bpf, SkeletonDeleter>;

struct LoadOptions {
  std::string pin_dir;
  uint64_t limit_ns = 0;                        // of the heartbeat
  std::map<std::string, uint32_t> max_entries;  // by name of a map
};

struct LoadResult {
  int err = 0;  // 0 or -errno
  const char* syscall = "";
  std::string what;
};

// Private to root. 0, also when it is there already, or -errno.
int MakeDirectory(const std::string& path);

// Loads everything, with the maps that an earlier keeper pinned in `pin_dir`.
LoadResult LoadObject(const LoadOptions& options, Skeleton* out);

// Loads the sk_lookup program of `common` once more, with the same maps, so that every address is taken for the one pod's.
LoadResult LoadLookup(const struct orlop_bpf& common, uint32_t pod_idx, Skeleton* out);

}  // namespace orlop
