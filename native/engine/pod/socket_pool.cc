// 13 · data thread · pools of sockets. A deadline belongs to the connection that waits.
#include "engine/pod/socket_pool.h"

#include <algorithm>
#include <utility>

namespace orlop {
namespace {

constexpr uint32_t kLeast = 4;
constexpr uint32_t kMost = 256;
// A refill that was lost is asked for again after this; also the keeper's round trip with a wide margin.
constexpr uint64_t kAskAgainMs = 500;
// A refill passes through both processes whatever it holds: when they come faster than this, the next are larger.
constexpr uint64_t kRefillMs = 50;
constexpr uint64_t kDecayMs = 30'000;
// A pool that nobody has drawn from for so long goes back to its least: a node has many pods, and a process a limit of descriptors.
constexpr uint64_t kQuietMs = 10'000;

}  // namespace

SocketPool::SocketPool(const EngineServices& services, uint32_t pod_idx, SocketKind kind)
    : services_(services),
      pod_idx_(pod_idx),
      kind_(kind),
      low_water_(kLeast),
      ask_again_([](void* self) { static_cast<SocketPool*>(self)->AskIfLow(); }, this),
      quiet_([](void* self) { static_cast<SocketPool*>(self)->Shrink(); }, this) {}

void SocketPool::Draw(SocketWaiter* waiter) {
  drawn_ms_ = services_.clock.now_ms();
  if (!fds_.empty()) {
    Descriptor fd = std::move(fds_.back());
    fds_.pop_back();
    AskIfLow();
    waiter->OnSocket(std::move(fd), dial_);
    return;
  }
  Grow();
  waiters_.PushBack(waiter);
  AskIfLow();
}

void SocketPool::Add(Descriptor fd) {
  if (asked_ms_ != 0 || !dial_known_) Learn(fd);
  asked_ms_ = 0;
  if (SocketWaiter* waiter = waiters_.PopFront()) return waiter->OnSocket(std::move(fd), dial_);
  // Of a refill that was asked for again both may come. What is not kept is closed.
  if (fds_.size() >= 2 * low_water_) return;
  fds_.push_back(std::move(fd));
  if (fds_.size() > 2 * kLeast && !quiet_.armed()) services_.timers.Start(&quiet_, kQuietMs);
}

void SocketPool::Shrink() {
  const uint64_t quiet_ms = services_.clock.now_ms() - drawn_ms_;
  if (quiet_ms < kQuietMs) return services_.timers.Start(&quiet_, kQuietMs - quiet_ms);
  low_water_ = kLeast;
  if (fds_.size() > 2 * kLeast) fds_.erase(fds_.begin() + 2 * kLeast, fds_.end());
}

// Of the first socket of a refill: the keeper reads the range once for all of them. bind(2) heeds no socket's own range, so
// sockets of former refills take the newest range too.
void SocketPool::Learn(const Descriptor& lent) {
  dial_known_ = true;
  if (kind_ == SocketKind::kLocal4 || kind_ == SocketKind::kLocal6) dial_ = DialPorts::Of(lent.get());
}

void SocketPool::Grow() {
  low_water_ = std::min(low_water_ * 2, kMost);
  changed_ms_ = services_.clock.now_ms();
}

void SocketPool::AskNow() {
  asked_ms_ = 0;
  AskIfLow();
}

void SocketPool::AskIfLow() {
  const uint64_t now = services_.clock.now_ms();
  if (now - changed_ms_ > kDecayMs && low_water_ > kLeast) {
    low_water_ /= 2;
    changed_ms_ = now;
  }
  // Nobody waits while there are sockets.
  if (waiters_.empty() && fds_.size() >= low_water_) return;
  if (!waiters_.empty()) services_.timers.Start(&ask_again_, kAskAgainMs);
  if (asked_ms_ != 0 && now - asked_ms_ < kAskAgainMs) return;
  if (now - refilled_ms_ < kRefillMs) Grow();
  asked_ms_ = refilled_ms_ = now;
  const uint32_t waiting = waiters_.CountUpTo(2 * kMost);
  const uint32_t count = 2 * low_water_ + waiting - static_cast<uint32_t>(fds_.size());
  orlop_engine_event record{};
  record.type = ORLOP_ENGINE_POOL_LOW;
  record.pod_idx = pod_idx_;
  record.kind = static_cast<uint32_t>(kind_);
  record.detail = static_cast<int32_t>(std::min(count, 2 * kMost));
  services_.events.Emit(record);
}

}  // namespace orlop
