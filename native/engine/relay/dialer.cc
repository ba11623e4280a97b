// 13 · data thread · bind and connect. The deadline belongs to the caller.
#include "engine/relay/dialer.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

namespace orlop {
namespace {

constexpr int kBindTries = 16;

}  // namespace

uint16_t SourcePorts::Next(const DialPorts& dial) {
  const uint32_t count = static_cast<uint32_t>(dial.last) - dial.first + 1;
  return static_cast<uint16_t>(dial.first + state_++ % count);
}

void SourcePorts::Jump() {
  state_ = state_ * 1664525u + 1013904223u;
}

int StartConnect(int fd, const Endpoint& to) {
  sockaddr_storage address;
  const socklen_t length = ToSockaddr(to, &address);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), length) == 0 || errno == EINPROGRESS) return 0;
  return errno;
}

int StartConnectFrom(int fd, const Endpoint& to, const Endpoint& client, uint16_t taken,
                     const DialPorts& dial, SourcePorts& ports) {
  Endpoint from = client;
  bool clients = client.port != 0 && dial && !dial.IsEphemeral(client.port);
  for (int tries = 0; tries < kBindTries; tries++) {
    if (!clients) from.port = dial ? ports.Next(dial) : 0;
    if (from.port != 0 && from.port == taken) from.port = ports.Next(dial);
    sockaddr_storage address;
    const socklen_t length = ToSockaddr(from, &address);
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0) return StartConnect(fd, to);
    // An application listens there, or only a privileged program may use the port in this pod.
    if (!dial || (errno != EADDRINUSE && errno != EACCES)) return errno;
    if (!clients) ports.Jump();
    clients = false;
  }
  return EADDRINUSE;
}

int ConnectResult(int fd, bool failed) {
  if (!failed) return 0;
  int error = 0;
  socklen_t length = sizeof error;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

}  // namespace orlop
