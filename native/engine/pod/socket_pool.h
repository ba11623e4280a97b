// 13 · data thread · unconnected sockets of one pod and kind, lent by the keeper, which refills the pool.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/core/descriptor.h"
#include "engine/core/events.h"
#include "engine/core/list.h"
#include "engine/core/services.h"
#include "engine/core/timer.h"
#include "engine/pod/dial_ports.h"
#include "engine/pod/socket_waiter.h"

namespace orlop {

class SocketPool {
 public:
  SocketPool(const EngineServices& services, uint32_t pod_idx, SocketKind kind);
  // Calls waiter->OnSocket, now or later.
  void Draw(SocketWaiter* waiter);
  void Add(Descriptor fd);
  bool waited_for() const { return !waiters_.empty(); }
  // The keeper that was asked has gone.
  void AskNow();

 private:
  void AskIfLow();
  void Grow();
  void Learn(const Descriptor& lent);
  void Shrink();
  const EngineServices& services_;
  uint32_t pod_idx_;
  SocketKind kind_;
  std::vector<Descriptor> fds_;
  DialPorts dial_;
  bool dial_known_ = false;
  List<SocketWaiter, SocketWaiter> waiters_;
  // How many are wanted at hand: doubles when the pool ran empty or was filled too often, halves after half a minute without.
  uint32_t low_water_;
  uint64_t asked_ms_ = 0;  // 0: the last refill has come
  uint64_t refilled_ms_ = 0;
  uint64_t changed_ms_ = 0;
  uint64_t drawn_ms_ = 0;
  Timer ask_again_;
  Timer quiet_;  // armed while there are more sockets than the least
};

}  // namespace orlop
