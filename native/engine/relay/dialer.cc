// 13 · data thread · bind and connect. The deadline belongs to the caller.
#include "engine/relay/dialer.h"

#include <sys/socket.h>

#include <cerrno>

namespace orlop {

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

int ConnectResult(int fd, bool failed) {
  if (!failed) return 0;
  int error = 0;
  socklen_t length = sizeof error;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

}  // namespace orlop
