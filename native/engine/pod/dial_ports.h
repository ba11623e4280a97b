// 13 · data thread · the ports from which a pod's applications are dialled, as the keeper wrote them on the sockets that it lends.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>

namespace orlop {

#ifndef IP_LOCAL_PORT_RANGE
constexpr int IP_LOCAL_PORT_RANGE = 51;  // Linux 6.3
#endif

// First and last port (DialPorts in native/keeper/pod_sockets.cc). Both 0: connect chooses.
struct DialPorts {
  uint16_t first = 0;
  uint16_t last = 0;

  static DialPorts Of(int fd) {
    uint32_t range = 0;
    socklen_t size = sizeof range;
    if (getsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, &size) != 0) return {};
    return {static_cast<uint16_t>(range), static_cast<uint16_t>(range >> 16)};
  }
  explicit operator bool() const { return first != 0 || last != 0; }
  // The range lies below the ephemeral ports, or above them up to the last port.
  bool IsEphemeral(uint16_t port) const { return last == UINT16_MAX ? port < first : port > last; }
};

}  // namespace orlop
