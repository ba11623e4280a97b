// 13 · data thread · connect on a borrowed socket. Pools of unconnected sockets, one per pod and kind,
// refilled by the keeper.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/core/descriptor.h"
#include "engine/core/endpoint.h"
#include "engine/core/events.h"
#include "engine/core/timers.h"

namespace orlop {

class Engine;
class SocketPool;

// Whoever needs a socket and may have to wait for one. Gets it, or cancels at its own deadline.
class SocketWaiter {
 public:
  virtual void OnSocket(Descriptor fd) = 0;
  void CancelWait();
  bool waiting() const { return pool_ != nullptr; }

 protected:
  ~SocketWaiter() { CancelWait(); }

 private:
  friend class SocketPool;
  SocketPool* pool_ = nullptr;
  SocketWaiter* next_ = nullptr;
};

class SocketPool {
 public:
  SocketPool(Engine& engine, uint32_t pod_idx, SocketKind kind);
  ~SocketPool();
  // Calls waiter->OnSocket, now or later.
  void Draw(SocketWaiter* waiter);
  void Add(Descriptor fd);

 private:
  friend class SocketWaiter;
  void AskIfLow();
  void Grow();
  Engine& engine_;
  uint32_t pod_idx_;
  SocketKind kind_;
  std::vector<Descriptor> fds_;
  SocketWaiter* first_ = nullptr;
  SocketWaiter* last_ = nullptr;
  uint32_t waiters_ = 0;
  // How many are wanted at hand: doubles when the pool ran empty or was filled too often, halves after half a
  // minute without.
  uint32_t low_water_ = 4;
  uint64_t asked_ms_ = 0;  // 0: the last refill has come
  uint64_t refilled_ms_ = 0;
  uint64_t changed_ms_ = 0;
  Timer ask_again_;
};

// Source address if any, connect(2). Returns 0 when under way, else an errno. The keeper has set the options.
int StartConnect(int fd, const Endpoint& to, const Endpoint* from);
// The outcome of a connect that epoll told of: 0 or an errno.
int ConnectResult(int fd, uint32_t events);

}  // namespace orlop
