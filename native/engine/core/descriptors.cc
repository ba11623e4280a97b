// any thread · counting is ours: asking the kernel (/proc/self/fd) per accept would cost more than the
// accept.
#include "engine/core/descriptors.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>

namespace orlop {
namespace {

std::atomic<int64_t> open_descriptors{0};

// What Node, logs, admin, maps and the keeper's connection hold besides; more would only shed earlier.
constexpr int64_t kOthers = 48;

int64_t Limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  return limit.rlim_cur == RLIM_INFINITY ? INT64_MAX / 100 : static_cast<int64_t>(limit.rlim_cur);
}

}  // namespace

void CountOpened() {
  open_descriptors.fetch_add(1, std::memory_order_relaxed);
}

void CloseCounted(int fd, bool reset) {
  if (reset) {
    const linger now{1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  close(fd);
  open_descriptors.fetch_sub(1, std::memory_order_relaxed);
}

bool DescriptorsShort() {
  // The limit may be changed from outside (prlimit): asked at each accept, 0.1 µs.
  return (OpenDescriptors() + kOthers + 2) * 100 > Limit() * 90;
}

int64_t OpenDescriptors() {
  return open_descriptors.load(std::memory_order_relaxed);
}

}  // namespace orlop
