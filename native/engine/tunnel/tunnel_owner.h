// 10, 11 · data thread · who a tunnel reports to: the pool for those that we dial, the server for those that we accept.
#pragma once

#include <string_view>

#include "engine/core/endpoint.h"
#include "engine/core/events.h"

namespace orlop {

class H2Stream;
class Tunnel;

class TunnelOwner {
 public:
  // HTTP/2 may be spoken.
  virtual void OnTunnelOpen(Tunnel&) {}
  // A stream has gone, so another may come.
  virtual void OnTunnelRoom(Tunnel&) {}
  // The peer has refused a stream of the tunnel, and has answered a stream. Not after OnTunnelRetired.
  virtual void OnTunnelRefused(Tunnel&) {}
  virtual void OnTunnelAnswered(Tunnel&) {}
  // It takes no new streams. Neither OnTunnelRoom nor OnTunnelEnded follows.
  virtual void OnTunnelRetired(Tunnel&) {}
  // It has ended. Its streams learn it after this, so that those that try again are not given the same tunnel.
  virtual void OnTunnelEnded(Tunnel&, CloseCause, int /* detail */, std::string_view /* message */) {}
  // An accepted tunnel is through its handshake, or has ended before.
  virtual void OnHandshakeOver(const Endpoint& /* peer */) {}
  // The peer begins a request. Null: it is refused.
  virtual H2Stream* OnRequest(Tunnel&) { return nullptr; }

 protected:
  ~TunnelOwner() = default;
};

}  // namespace orlop
