// any thread · a descriptor's owner, and the process's count. Reading /proc/self/fd per accept would cost more than the accept.
#include "engine/core/descriptor.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <utility>

#include "engine/core/loop.h"

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

Descriptor::Descriptor(int fd) : fd_(fd) {
  if (fd >= 0) open_descriptors.fetch_add(1, std::memory_order_relaxed);
}

Descriptor Descriptor::Accepted(int fd) {
  Descriptor accepted(fd);
  accepted.sole_ = true;
  return accepted;
}

Descriptor::Descriptor(Descriptor&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), sole_(other.sole_), loop_(std::exchange(other.loop_, nullptr)) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this == &other) return *this;
  Close();
  fd_ = std::exchange(other.fd_, -1);
  sole_ = other.sole_;
  loop_ = std::exchange(other.loop_, nullptr);
  return *this;
}

bool Descriptor::Watch(const Loop& loop, Pollable* pollable) {
  if (!loop.Watch(fd_, pollable)) return false;
  loop_ = &loop;
  return true;
}

bool Descriptor::WatchShared(const Loop& loop, Pollable* pollable) {
  if (!loop.WatchShared(fd_, pollable)) return false;
  loop_ = &loop;
  return true;
}

void Descriptor::Close() {
  if (fd_ < 0) return;
  if (loop_ && !sole_) loop_->Forget(fd_);
  loop_ = nullptr;
  close(fd_);
  fd_ = -1;
  open_descriptors.fetch_sub(1, std::memory_order_relaxed);
}

void Descriptor::CloseWithReset() {
  if (fd_ < 0) return;
  const linger now{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  Close();
}

Descriptors DescriptorsLeft() {
  // The limit may be changed from outside (prlimit), so it is read at each accept: 0.1 µs.
  const int64_t limit = Limit(), wanted = (OpenDescriptors() + kOthers + 2) * 10;
  if (wanted > limit * 9) return Descriptors::kShort;
  return wanted > limit * 7 ? Descriptors::kScarce : Descriptors::kPlenty;
}

int64_t OpenDescriptors() {
  return open_descriptors.load(std::memory_order_relaxed);
}

}  // namespace orlop
