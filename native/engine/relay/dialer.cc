// 13 · data thread · pools and connect. A deadline belongs to whoever dials.
#include "engine/relay/dialer.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "engine/core/descriptor.h"
#include "engine/core/engine.h"

namespace orlop {
namespace {

constexpr uint32_t kLeast = 4;
constexpr uint32_t kMost = 256;
// A refill that was lost is asked for again after this; also the keeper's round trip with a wide margin.
constexpr uint64_t kAskAgainMs = 500;
// A refill passes through both processes whatever it holds: when they come faster than this, the next ones
// are larger.
constexpr uint64_t kRefillMs = 50;
constexpr uint64_t kDecayMs = 30'000;

}  // namespace

void SocketWaiter::CancelWait() {
  if (!pool_) return;
  SocketWaiter** link = &pool_->first_;
  SocketWaiter* before = nullptr;
  while (*link != this) {
    before = *link;
    link = &before->next_;
  }
  *link = next_;
  if (pool_->last_ == this) pool_->last_ = before;
  pool_->waiters_--;
  pool_ = nullptr;
  next_ = nullptr;
}

SocketPool::SocketPool(Engine& engine, uint32_t pod_idx, SocketKind kind)
    : engine_(engine),
      pod_idx_(pod_idx),
      kind_(kind),
      ask_again_([](void* self) { static_cast<SocketPool*>(self)->AskIfLow(); }, this) {}

SocketPool::~SocketPool() {
  while (first_) first_->CancelWait();
}

void SocketPool::Draw(SocketWaiter* waiter) {
  if (!fds_.empty()) {
    Descriptor fd = std::move(fds_.back());
    fds_.pop_back();
    AskIfLow();
    waiter->OnSocket(std::move(fd));
    return;
  }
  Grow();
  waiter->pool_ = this;
  waiter->next_ = nullptr;
  (last_ ? last_->next_ : first_) = waiter;
  last_ = waiter;
  waiters_++;
  AskIfLow();
}

void SocketPool::Add(Descriptor fd) {
  asked_ms_ = 0;
  if (!first_) {
    fds_.push_back(std::move(fd));
    return;
  }
  SocketWaiter* waiter = first_;
  waiter->CancelWait();
  waiter->OnSocket(std::move(fd));
}

void SocketPool::Grow() {
  low_water_ = std::min(low_water_ * 2, kMost);
  changed_ms_ = engine_.now_ms();
}

void SocketPool::AskIfLow() {
  const uint64_t now = engine_.now_ms();
  if (now - changed_ms_ > kDecayMs && low_water_ > kLeast) {
    low_water_ /= 2;
    changed_ms_ = now;
  }
  if (fds_.size() >= low_water_ + waiters_) return;
  if (waiters_ > 0) engine_.timers().Start(&ask_again_, kAskAgainMs);
  if (asked_ms_ != 0 && now - asked_ms_ < kAskAgainMs) return;
  if (now - refilled_ms_ < kRefillMs) Grow();
  asked_ms_ = refilled_ms_ = now;
  const uint32_t count = 2 * low_water_ + waiters_ - static_cast<uint32_t>(fds_.size());
  engine_.EmitPoolLow(pod_idx_, kind_, std::min(count, 2 * kMost));
}

int StartConnect(int fd, const Endpoint& to, const Endpoint* from) {
  sockaddr_storage address;
  if (from) {
    Endpoint any_port = *from;
    any_port.port = 0;
    const socklen_t length = ToSockaddr(any_port, &address);
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), length) != 0) return errno;
  }
  const socklen_t length = ToSockaddr(to, &address);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), length) == 0 || errno == EINPROGRESS) return 0;
  return errno;
}

int ConnectResult(int fd, uint32_t events) {
  if (!(events & (EPOLLERR | EPOLLHUP))) return 0;
  int error = 0;
  socklen_t length = sizeof error;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

}  // namespace orlop
