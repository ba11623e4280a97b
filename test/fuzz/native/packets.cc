// fuzz · fd_passing.cc: whatever a process may put into a packet. Nothing longer than the limits arrives, and
// no descriptor stays open.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "shared/fd_passing.h"

namespace {

using namespace orlop;

constexpr size_t kMostFds = 253;  // SCM_MAX_FD

[[noreturn]] void Fail(const char* what) {
  fprintf(stderr, "fuzz: %s\n", what);
  abort();
}

int FirstFree() {
  const int fd = dup(0);
  close(fd);
  return fd;
}

// True when the kernel took it.
bool SendRaw(int socket, const uint8_t* bytes, size_t length, size_t first_fds, size_t second_fds) {
  alignas(cmsghdr) uint8_t control[2 * CMSG_SPACE(sizeof(int) * kMostFds)] = {};
  iovec part = {const_cast<uint8_t*>(bytes), length};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  size_t used = 0;
  for (const size_t count : {first_fds, second_fds}) {
    if (count == 0) continue;
    auto* header = reinterpret_cast<cmsghdr*>(control + used);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * count);
    for (size_t i = 0; i < count; i++) {
      const int fd = 0;
      memcpy(CMSG_DATA(header) + i * sizeof fd, &fd, sizeof fd);
    }
    used += CMSG_SPACE(sizeof(int) * count);
  }
  message.msg_control = used > 0 ? control : nullptr;
  message.msg_controllen = used;
  return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

void ReceiveAll(int socket) {
  for (;;) {
    Packet packet;
    const int got = ReceivePacket(socket, &packet);
    if (got == -EAGAIN || got == 0) return;
    if (got < 0 && got != -EMSGSIZE) Fail("a packet broke the socket");
    if (got < 0 && !packet.fds.empty()) Fail("descriptors of a packet that was refused");
    if (got > 0 && packet.bytes.size() != static_cast<size_t>(got)) Fail("a length that is not true");
    if (packet.fds.size() > kMaxPacketFds) Fail("more descriptors than the limit");
    for (const UniqueFd& fd : packet.fds) {
      if ((fcntl(fd.get(), F_GETFD) & FD_CLOEXEC) == 0) Fail("a descriptor would outlive an exec");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static uint8_t bytes[kMaxPacketBytes * 2];
  const int before = FirstFree();
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) Fail("socketpair");
  for (; size >= 5; data += 5, size -= 5) {
    const size_t length = (static_cast<size_t>(data[0]) << 9 | data[1]) % sizeof bytes;
    if (data[4] % 2 == 0) {
      SendRaw(pair[0], bytes, length, data[2] % (kMostFds + 1), data[3] % 8);
    } else {
      SendPacket(pair[0], bytes, length, std::vector<int>(data[2], 0));
    }
    if (data[4] % 4 < 2) ReceiveAll(pair[1]);
  }
  close(pair[0]);
  ReceiveAll(pair[1]);
  close(pair[1]);
  if (FirstFree() != before) Fail("a descriptor was left open");
  return 0;
}
