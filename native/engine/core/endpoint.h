// any thread · address and port as the engine holds them: 16 bytes, IPv4 as ::ffff:a.b.c.d, port in host order.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstring>

#include "orlop_abi.h"

namespace orlop {

struct Endpoint {
  orlop_addr addr{};
  uint16_t port = 0;

  bool IsV4() const {
    static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return memcmp(addr.bytes, kMapped, sizeof kMapped) == 0;
  }
  bool operator==(const Endpoint& other) const {
    return port == other.port && memcmp(addr.bytes, other.addr.bytes, sizeof addr.bytes) == 0;
  }
};

// The form that the kernel's calls take. A v4 address becomes AF_INET, as pooled sockets are of one family.
inline socklen_t ToSockaddr(const Endpoint& endpoint, sockaddr_storage* out) {
  memset(out, 0, sizeof *out);
  if (endpoint.IsV4()) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(out);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(endpoint.port);
    memcpy(&v4->sin_addr, endpoint.addr.bytes + 12, 4);
    return sizeof *v4;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(out);
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(endpoint.port);
  memcpy(&v6->sin6_addr, endpoint.addr.bytes, 16);
  return sizeof *v6;
}

// False for any other family, and for an address that the kernel did not fill in (the peer had reset before we asked).
inline bool FromSockaddr(const sockaddr_storage& in, socklen_t length, Endpoint* out) {
  if (in.ss_family == AF_INET && length >= sizeof(sockaddr_in)) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(in);
    memset(out->addr.bytes, 0, 10);
    out->addr.bytes[10] = out->addr.bytes[11] = 0xff;
    memcpy(out->addr.bytes + 12, &v4.sin_addr, 4);
    out->port = ntohs(v4.sin_port);
    return true;
  }
  if (in.ss_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(in);
    memcpy(out->addr.bytes, &v6.sin6_addr, 16);
    out->port = ntohs(v6.sin6_port);
    return true;
  }
  return false;
}

}  // namespace orlop
