// 13 · data thread · where unconnected sockets in a pod's namespace come from.
#pragma once

#include <cstdint>

#include "engine/core/events.h"

namespace orlop {

class SocketWaiter;

class SocketSource {
 public:
  // Calls waiter->OnSocket, now or later. False: there is no such pod.
  virtual bool Draw(uint32_t pod_idx, SocketKind kind, SocketWaiter* waiter) = 0;

 protected:
  ~SocketSource() = default;
};

}  // namespace orlop
