// 10 · data thread · a connection that needs a tunnel and may have to wait for it.
#pragma once

#include <string_view>

#include "engine/core/events.h"
#include "engine/core/list.h"

namespace orlop {

class Tunnel;

class TunnelWaiter : public Hook<TunnelWaiter> {
 public:
  virtual void OnTunnelReady(Tunnel& tunnel) = 0;
  // `unheard`: the peer has not answered the dial, neither in TLS nor in HTTP/2, so another dial may find it.
  virtual void OnTunnelFailed(CloseCause cause, int detail, std::string_view message, bool unheard) = 0;

 protected:
  ~TunnelWaiter() = default;
};

}  // namespace orlop
