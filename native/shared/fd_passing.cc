// any thread · one packet with descriptors over a SOCK_SEQPACKET unix socket, both ways; who is
// at the other end.
#include "shared/fd_passing.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

namespace orlop {
namespace {

int Address(const std::string& path, sockaddr_un* address) {
  *address = {};
  address->sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address->sun_path)) return -ENAMETOOLONG;
  std::memcpy(address->sun_path, path.data(), path.size());
  return 0;
}

int NewSocket(UniqueFd* out) {
  out->reset(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  return *out ? 0 : -errno;
}

// True: a socket file that nobody listens at. A file of any other kind is somebody's data.
bool IsAbandoned(const std::string& path) {
  struct stat file;
  if (lstat(path.c_str(), &file) != 0 || !S_ISSOCK(file.st_mode)) return false;
  UniqueFd probe;
  return ConnectUnix(path, &probe) == -ECONNREFUSED;
}

}  // namespace

int SendPacket(int socket, const uint8_t* bytes, size_t size, const std::vector<int>& fds) {
  if (size == 0) return -EINVAL;  // Would read as the end.
  if (size > kMaxPacketBytes || fds.size() > kMaxPacketFds) return -EMSGSIZE;
  iovec part = {const_cast<uint8_t*>(bytes), size};
  alignas(cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int) * kMaxPacketFds)] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    std::memcpy(CMSG_DATA(header), fds.data(), sizeof(int) * fds.size());
  }
  ssize_t sent = 0;
  do sent = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? -errno : static_cast<int>(sent);
}

int ReceivePacket(int socket, Packet* packet) {
  packet->fds.clear();
  packet->bytes.resize(kMaxPacketBytes);
  iovec part = {packet->bytes.data(), packet->bytes.size()};
  alignas(cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int) * kMaxPacketFds)];
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t size = 0;
  do size = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (size < 0 && errno == EINTR);
  if (size < 0) return -errno;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      packet->fds.emplace_back(fd);
    }
  }
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    packet->fds.clear();
    return -EMSGSIZE;
  }
  packet->bytes.resize(static_cast<size_t>(size));
  return static_cast<int>(size);
}

int ReadCredentials(int socket, PeerCredentials* credentials) {
  ucred peer = {};
  socklen_t size = sizeof(peer);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return -errno;
  // A listening socket has no peer; the kernel then answers with its own maker or with pid 0.
  *credentials = {peer.pid, peer.uid, peer.gid};
  return 0;
}

int PeerLives(int socket) {
  // SO_PEERPIDFD, which libc's headers may lack (linux:include/uapi/asm-generic/socket.h).
  constexpr int kPeerPidFd = 77;
  int number = -1;
  socklen_t size = sizeof(number);
  if (getsockopt(socket, SOL_SOCKET, kPeerPidFd, &number, &size) != 0) {
    // Kernels differ in what they say of a process that has gone.
    return errno == ESRCH || errno == EINVAL || errno == ENODATA ? 0 : -errno;
  }
  const UniqueFd process(number);
  pollfd ended = {process.get(), POLLIN, 0};
  const int ready = poll(&ended, 1, 0);
  return ready < 0 ? -errno : ready == 0 ? 1 : 0;
}

int ListenUnix(const std::string& path, uint32_t mode, int backlog, UniqueFd* out) {
  sockaddr_un address;
  UniqueFd own;
  int err = Address(path, &address);
  if (err == 0) err = NewSocket(&own);
  if (err < 0) return err;
  // The kernel makes the file with the socket's own mode less the umask, so it is never wider than `mode`.
  if (fchmod(own.get(), mode) != 0) return -errno;
  const auto* name = reinterpret_cast<const sockaddr*>(&address);
  if (bind(own.get(), name, sizeof(address)) != 0) {
    if (errno != EADDRINUSE) return -errno;
    if (!IsAbandoned(path)) return -EADDRINUSE;
    if (unlink(path.c_str()) != 0 || bind(own.get(), name, sizeof(address)) != 0) return -errno;
  }
  // What the umask took away.
  if (chmod(path.c_str(), mode) != 0 || listen(own.get(), backlog) != 0) return -errno;
  *out = std::move(own);
  return 0;
}

int ConnectUnix(const std::string& path, UniqueFd* out) {
  sockaddr_un address;
  UniqueFd own;
  int err = Address(path, &address);
  if (err == 0) err = NewSocket(&own);
  if (err < 0) return err;
  do err = connect(own.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ? 0 : -errno;
  while (err == -EINTR);
  if (err == 0) *out = std::move(own);
  return err;
}

}  // namespace orlop
