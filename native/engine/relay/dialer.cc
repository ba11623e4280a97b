// 13 · data thread · bind and connect. The deadline belongs to the caller.
#include "engine/relay/dialer.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

namespace orlop {
namespace {

constexpr int kBindTries = 16;
#ifndef IP_LOCAL_PORT_RANGE
constexpr int IP_LOCAL_PORT_RANGE = 51;  // Linux 6.3
#endif

// The range of dials lies below the ephemeral ports, or above them up to the last port (native/keeper/pod_sockets.cc).
bool IsEphemeral(uint16_t port, uint16_t first, uint16_t last) {
  return last == UINT16_MAX ? port < first : port > last;
}

}  // namespace

uint16_t SourcePorts::Next(uint16_t first, uint16_t last) {
  const uint32_t count = static_cast<uint32_t>(last) - first + 1;
  return static_cast<uint16_t>(first + state_++ % count);
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

int StartConnectFrom(int fd, const Endpoint& to, const Endpoint& client, uint16_t taken, SourcePorts& ports) {
  // First and last port, native/keeper/pod_sockets.cc. 0: connect chooses.
  uint32_t range = 0;
  socklen_t size = sizeof range;
  if (getsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, &size) != 0) range = 0;
  const auto first = static_cast<uint16_t>(range), last = static_cast<uint16_t>(range >> 16);
  Endpoint from = client;
  bool clients = client.port != 0 && range != 0 && !IsEphemeral(client.port, first, last);
  for (int tries = 0; tries < kBindTries; tries++) {
    if (!clients) from.port = range == 0 ? 0 : ports.Next(first, last);
    if (from.port != 0 && from.port == taken) from.port = ports.Next(first, last);
    sockaddr_storage address;
    const socklen_t length = ToSockaddr(from, &address);
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0) return StartConnect(fd, to);
    // An application listens there, or only a privileged program may use the port in this pod.
    if (range == 0 || (errno != EADDRINUSE && errno != EACCES)) return errno;
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
