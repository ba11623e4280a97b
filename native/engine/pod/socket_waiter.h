// 13 · data thread · a part of the engine that needs a pooled socket and may have to wait for it.
#pragma once

#include "engine/core/descriptor.h"
#include "engine/core/list.h"
#include "engine/pod/dial_ports.h"

namespace orlop {

// Gets its socket, or cancels at its own deadline.
class SocketWaiter : public Hook<SocketWaiter> {
 public:
  virtual void OnSocket(Descriptor fd, const DialPorts& dial) = 0;
  void CancelWait() { Hook<SocketWaiter>::Remove(); }

 protected:
  ~SocketWaiter() = default;
};

}  // namespace orlop
