// 13 · data thread · connect on a borrowed socket.
#pragma once

#include <cstdint>

#include "engine/core/endpoint.h"
#include "engine/pod/dial_ports.h"

namespace orlop {

// Source ports for dials from clients' addresses: every port of the range once, in an order of its own, before any comes again.
class SourcePorts {
 public:
  explicit SourcePorts(uint32_t seed) : state_(seed) {}
  uint16_t Next(const DialPorts& dial);
  // The next ports are in use: continues at another place of the range.
  void Jump();

 private:
  uint32_t state_;
};

// connect(2). Returns 0 when under way, else an errno. The keeper has set the options.
int StartConnect(int fd, const Endpoint& to);
// The same from a client's address. Its port, if it has any, is tried first, unless the kernel gives out such ports by itself: then
// the client may have it once more, for a connection that does not pass here. Else a port of `dial`, but never
// `taken`. EADDRNOTAVAIL: between these two ends the port is in use, and another socket may find another port.
int StartConnectFrom(int fd, const Endpoint& to, const Endpoint& client, uint16_t taken,
                     const DialPorts& dial, SourcePorts& ports);
// The outcome of a connect that has ended. `failed`: epoll reported EPOLLERR or EPOLLHUP. 0 or an errno.
int ConnectResult(int fd, bool failed);

}  // namespace orlop
