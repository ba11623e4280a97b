// keeper · sockets made in the calling thread's namespace.
#include "keeper/pod_sockets.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "orlop_abi.h"

namespace orlop {
namespace {

#ifndef SO_NETNS_COOKIE
constexpr int SO_NETNS_COOKIE = 71;
#endif
#ifndef IP_LOCAL_PORT_RANGE
constexpr int IP_LOCAL_PORT_RANGE = 51;  // Linux 6.3
#endif
constexpr int kBacklog = 4096;

// The options of one socket, up to the first that fails.
class Options {
 public:
  Options(int fd, std::string* step) : fd_(fd), step_(step) {}
  Options& Set(int level, int name, int value, const char* what) {
    if (err_ == 0 && setsockopt(fd_, level, name, &value, sizeof(value)) != 0) {
      err_ = -errno;
      *step_ = std::string("setsockopt(") + what + ")";
    }
    return *this;
  }
  int err() const { return err_; }

 private:
  int fd_;
  std::string* step_;
  int err_ = 0;
};

int NewSocket(int family, UniqueFd* out, std::string* step) {
  out->reset(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  *step = "socket";
  return *out ? 0 : -errno;
}

/*
 * The ports for dials to the namespace's applications: where neither the kernel of the pod nor, by default, that of a client chooses
 * ports for clients. A client's own port would give the namespace two sockets with the same four-tuple. 0: the ephemeral range leaves
 * too few. First and last port, as IP_LOCAL_PORT_RANGE has them (Linux, Documentation/networking/ip-sysctl.rst).
 */
uint32_t DialPorts() {
  constexpr unsigned kUnprivileged = 1024, kFewest = 4096, kLast = 65535;
  const UniqueFd file(open("/proc/sys/net/ipv4/ip_local_port_range", O_RDONLY | O_CLOEXEC));
  char text[64] = {};
  unsigned low = 0, high = 0;
  if (!file || read(file.get(), text, sizeof(text) - 1) <= 0) return 0;
  if (sscanf(text, "%u %u", &low, &high) != 2 || high > kLast) return 0;
  if (low >= kUnprivileged + kFewest) return kUnprivileged | (low - 1) << 16;
  if (high + kFewest <= kLast) return (high + 1) | kLast << 16;
  return 0;
}

int Tag(int tags, int fd, uint16_t flags, std::string* step) {
  struct orlop_sock value = {};
  value.flags = flags;
  *step = "bpf(BPF_MAP_UPDATE_ELEM): dst_of_sock";
  return bpf_map_update_elem(tags, &fd, &value, BPF_ANY);
}

}  // namespace

int ReadNamespace(NamespaceInfo* info, std::string* step) {
  UniqueFd probe;
  int err = NewSocket(AF_INET, &probe, step);
  if (err < 0) return err;
  socklen_t size = sizeof(info->cookie);
  *step = "getsockopt(SO_NETNS_COOKIE)";
  if (getsockopt(probe.get(), SOL_SOCKET, SO_NETNS_COOKIE, &info->cookie, &size) != 0) return -errno;
  ifaddrs* list = nullptr;
  *step = "getifaddrs";
  if (getifaddrs(&list) != 0) return -errno;
  for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr) continue;
    char text[INET6_ADDRSTRLEN];
    const int family = one->ifa_addr->sa_family;
    const void* bytes = nullptr;
    if (family == AF_INET) bytes = &reinterpret_cast<const sockaddr_in*>(one->ifa_addr)->sin_addr;
    if (family == AF_INET6) bytes = &reinterpret_cast<const sockaddr_in6*>(one->ifa_addr)->sin6_addr;
    if (bytes != nullptr && inet_ntop(family, bytes, text, sizeof(text)) != nullptr)
      info->addresses.emplace_back(text);
  }
  freeifaddrs(list);
  return 0;
}

int MakeListener(int tags, const std::string& address, uint16_t port, bool transparent, UniqueFd* out,
                 std::string* step) {
  sockaddr_in6 v6 = {};
  sockaddr_in v4 = {};
  const bool is6 = address.find(':') != std::string::npos;
  *step = "inet_pton: " + address;
  if (inet_pton(is6 ? AF_INET6 : AF_INET, address.c_str(),
                is6 ? static_cast<void*>(&v6.sin6_addr) : static_cast<void*>(&v4.sin_addr)) != 1)
    return -EINVAL;
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  UniqueFd fd;
  int err = NewSocket(is6 ? AF_INET6 : AF_INET, &fd, step);
  // What it accepts inherits the tag (BPF_F_CLONE), so that no hook takes it for the application's.
  if (err == 0) err = Tag(tags, fd.get(), ORLOP_SOCK_AGENT, step);
  if (err < 0) return err;
  Options options(fd.get(), step);
  options.Set(SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
  if (is6) options.Set(IPPROTO_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY");
  if (transparent && is6) options.Set(IPPROTO_IPV6, IPV6_TRANSPARENT, 1, "IPV6_TRANSPARENT");
  if (transparent && !is6) options.Set(IPPROTO_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT");
  if (port == ORLOP_PORT_INBOUND) options.Set(SOL_SOCKET, SO_MARK, ORLOP_INBOUND_MARK, "SO_MARK");
  if (options.err() < 0) return options.err();
  *step = "bind " + address + " port " + std::to_string(port);
  const auto* name = is6 ? reinterpret_cast<const sockaddr*>(&v6) : reinterpret_cast<const sockaddr*>(&v4);
  if (bind(fd.get(), name, is6 ? sizeof(v6) : sizeof(v4)) != 0) return -errno;
  *step = "listen";
  if (listen(fd.get(), kBacklog) != 0) return -errno;
  *out = std::move(fd);
  return 0;
}

namespace {

// `ports`: DialPorts() of the namespace; of no meaning to kOut4 and kOut6.
int MakeSocket(int tags, SocketKind kind, uint32_t ports, UniqueFd* out, std::string* step) {
  const bool is6 = kind == SocketKind::kOut6 || kind == SocketKind::kLocal6;
  const bool local = kind == SocketKind::kLocal4 || kind == SocketKind::kLocal6;
  UniqueFd fd;
  int err = NewSocket(is6 ? AF_INET6 : AF_INET, &fd, step);
  if (err == 0)
    err = Tag(tags, fd.get(), local ? ORLOP_SOCK_AGENT | ORLOP_SOCK_DIALS_APP : ORLOP_SOCK_AGENT, step);
  if (err < 0) return err;
  Options options(fd.get(), step);
  options.Set(IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY")
      .Set(SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE")
      .Set(IPPROTO_TCP, TCP_KEEPIDLE, 180, "TCP_KEEPIDLE")
      .Set(IPPROTO_TCP, TCP_KEEPINTVL, 180, "TCP_KEEPINTVL")
      .Set(IPPROTO_TCP, TCP_KEEPCNT, 9, "TCP_KEEPCNT")
      .Set(SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR")
      // The agent reads an application's urgent bytes in their order (native/engine/relay/acceptor.cc).
      .Set(SOL_SOCKET, SO_OOBINLINE, 1, "SO_OOBINLINE");
  if (local) {
    if (is6) options.Set(IPPROTO_IPV6, IPV6_TRANSPARENT, 1, "IPV6_TRANSPARENT");
    if (!is6) options.Set(IPPROTO_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT");
    options.Set(SOL_SOCKET, SO_MARK, ORLOP_LOCAL_MARK, "SO_MARK");
    // The kernel takes no port outside the namespace's own range for it: the agent reads the option and binds the port. On a
    // kernel without the option the port is chosen at connect, when the other end is known: a bind alone would need a free one
    // for all.
    if (ports == 0 || setsockopt(fd.get(), IPPROTO_IP, IP_LOCAL_PORT_RANGE, &ports, sizeof(ports)) != 0)
      options.Set(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1, "IP_BIND_ADDRESS_NO_PORT");
  }
  if (options.err() == 0) *out = std::move(fd);
  return options.err();
}

}  // namespace

int MakeSockets(int tags, SocketKind kind, std::vector<UniqueFd>* out, std::string* step) {
  // The namespace's owner may change the range, so each batch reads it. Opening the file costs as much as making a socket.
  const bool local = kind == SocketKind::kLocal4 || kind == SocketKind::kLocal6;
  const uint32_t ports = local ? DialPorts() : 0;
  for (UniqueFd& fd : *out) {
    const int err = MakeSocket(tags, kind, ports, &fd, step);
    if (err < 0) return err;
  }
  return 0;
}

}  // namespace orlop
