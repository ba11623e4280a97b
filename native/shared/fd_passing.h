// any thread · one packet with descriptors over a SOCK_SEQPACKET unix socket, both ways; who is at the other
// end. Knows no JavaScript. Results are 0 or more, or -errno.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "shared/unique_fd.h"

namespace orlop {

constexpr size_t kMaxPacketBytes = 65536;
constexpr size_t kMaxPacketFds = 64;  // The kernel's own limit is 253.

struct Packet {
  std::vector<uint8_t> bytes;
  std::vector<UniqueFd> fds;
};

struct PeerCredentials {
  int pid = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
};

// Non-blocking. The kernel duplicates the descriptors.
int SendPacket(int socket, const uint8_t* bytes, size_t size, const std::vector<int>& fds);

// Non-blocking. 0: the other side closed. -EMSGSIZE: the packet was longer than the limits, or its
// descriptors were cut off; what came with it is closed. Received descriptors are close-on-exec.
int ReceivePacket(int socket, Packet* packet);

int ReadCredentials(int socket, PeerCredentials* credentials);
// 1: the process that connected has not ended, so its pid is no other process's; 0: it has. -ENOPROTOOPT: this kernel does not say it
// (before 6.5).
int PeerLives(int socket);

// A listening socket whose file has `mode` from its first moment. A file that nobody listens at is replaced. `backlog`: of connections that
// nobody has accepted yet; beyond them connect() fails with EAGAIN.
int ListenUnix(const std::string& path, uint32_t mode, int backlog, UniqueFd* out);
int ConnectUnix(const std::string& path, UniqueFd* out);

}  // namespace orlop
