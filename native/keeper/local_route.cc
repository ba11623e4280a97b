// keeper · rule, routes and sysctls inside the pod's namespace: of the dial to the application, and to the agent's listener.
#include "keeper/local_route.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>

#include "orlop_abi.h"
#include "shared/unique_fd.h"

namespace orlop {
namespace {

constexpr uint32_t kLoopbackIndex = 1;  // Of every namespace's lo.
// Before main (32766), after whatever a CNI puts first.
constexpr uint32_t kRulePriority = 28530;
constexpr uint32_t kDeviceMetric = 0x10000;
constexpr size_t kMostDevices = 64;

// One rtnetlink request, built up in place.
class Request {
 public:
  template <typename Body>
  Request(uint16_t type, uint16_t flags, const Body& body) {
    header()->nlmsg_len = NLMSG_LENGTH(sizeof(Body));
    header()->nlmsg_type = type;
    header()->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    std::memcpy(NLMSG_DATA(header()), &body, sizeof(Body));
  }
  void Add(uint16_t type, uint32_t value) { Add(type, &value, sizeof(value)); }
  void Add(uint16_t type, const void* value, size_t size) {
    auto* attribute = reinterpret_cast<rtattr*>(bytes_ + NLMSG_ALIGN(header()->nlmsg_len));
    attribute->rta_type = type;
    attribute->rta_len = static_cast<uint16_t>(RTA_LENGTH(size));
    std::memcpy(RTA_DATA(attribute), value, size);
    header()->nlmsg_len = NLMSG_ALIGN(header()->nlmsg_len) + RTA_ALIGN(attribute->rta_len);
  }
  // The kernel's word: 0 or -errno.
  int Send(int netlink) {
    if (send(netlink, bytes_, header()->nlmsg_len, 0) < 0) return -errno;
    alignas(nlmsghdr) char reply[1024];
    const ssize_t size = recv(netlink, reply, sizeof(reply), 0);
    if (size < 0) return -errno;
    const auto* answer = reinterpret_cast<const nlmsghdr*>(reply);
    if (!NLMSG_OK(answer, static_cast<uint32_t>(size))) return -EPROTO;
    if (answer->nlmsg_type == NLMSG_ERROR) return static_cast<const nlmsgerr*>(NLMSG_DATA(answer))->error;
    // The begin of a list, the rest of which nobody reads.
    return (header()->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP ? 0 : -EPROTO;
  }

 private:
  nlmsghdr* header() { return reinterpret_cast<nlmsghdr*>(bytes_); }
  alignas(nlmsghdr) char bytes_[256] = {};
};

int Rule(int netlink, uint8_t family, bool add) {
  fib_rule_hdr body = {};
  body.family = family;
  body.action = FR_ACT_TO_TBL;
  Request request(add ? RTM_NEWRULE : RTM_DELRULE, add ? NLM_F_CREATE | NLM_F_EXCL : 0, body);
  request.Add(FRA_FWMARK, ORLOP_LOCAL_MARK);
  request.Add(FRA_FWMASK, 0xffffffff);
  request.Add(FRA_TABLE, ORLOP_LOCAL_TABLE);
  request.Add(FRA_PRIORITY, kRulePriority);
  return request.Send(netlink);
}

// Does this kernel route by rules? 0, or -errno. The list that it begins to send stays in `netlink`.
int AskForRules(int netlink, uint8_t family) {
  fib_rule_hdr body = {};
  body.family = family;
  return Request(RTM_GETRULE, NLM_F_DUMP, body).Send(netlink);
}

bool NoSuchFamily(int err) {
  return err == -EAFNOSUPPORT || err == -EOPNOTSUPP;
}

rtmsg LocalDefault(uint8_t family) {
  rtmsg body = {};
  body.rtm_family = family;
  body.rtm_table = RT_TABLE_UNSPEC;
  body.rtm_protocol = RTPROT_STATIC;
  body.rtm_scope = RT_SCOPE_HOST;
  body.rtm_type = RTN_LOCAL;
  return body;
}

// `local default dev lo`: every destination is taken for our own.
int AddRoute(int netlink, uint8_t family) {
  Request request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, LocalDefault(family));
  request.Add(RTA_TABLE, ORLOP_LOCAL_TABLE);
  request.Add(RTA_OIF, kLoopbackIndex);
  return request.Send(netlink);
}

// The same for sockets that are bound to a device, since the kernel looks for a route with that device alone. What it finds is
// delivered over loopback all the same.
int AddDeviceRoute(int netlink, uint8_t family, uint32_t device) {
  Request request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, LocalDefault(family));
  request.Add(RTA_TABLE, ORLOP_LOCAL_TABLE);
  request.Add(RTA_OIF, device);
  // After the route by loopback, which all other sockets take.
  request.Add(RTA_PRIORITY, kDeviceMetric + device);
  return request.Send(netlink);
}

// Every route of the table. 0, or -errno.
int RemoveRoutes(int netlink, uint8_t family) {
  for (size_t removed = 0; removed <= kMostDevices; removed++) {
    Request request(RTM_DELROUTE, 0, LocalDefault(family));
    request.Add(RTA_TABLE, ORLOP_LOCAL_TABLE);
    const int err = request.Send(netlink);
    if (err == -ESRCH || NoSuchFamily(err)) return 0;
    if (err < 0) return err;
  }
  return 0;
}

// Devices with an address, loopback excepted: of these an application knows.
std::set<uint32_t> AddressedDevices() {
  std::set<uint32_t> out;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return out;
  for (const ifaddrs* one = list; one != nullptr && out.size() < kMostDevices; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || (one->ifa_flags & IFF_UP) == 0) continue;
    const int family = one->ifa_addr->sa_family;
    const uint32_t device =
        family == AF_INET || family == AF_INET6 ? if_nametoindex(one->ifa_name) : kLoopbackIndex;
    if (device != 0 && device != kLoopbackIndex) out.insert(device);
  }
  freeifaddrs(list);
  return out;
}

// `local <addresses of orlop_abi.h> dev lo`, in the table that the kernel asks first. `source`: what a socket without an
// address of its own is given there; null: takes the route away.
int ListenerRoute(int netlink, uint8_t family, const void* source) {
  const uint32_t to4 = htonl(ORLOP_SPREAD4);
  const uint32_t to6[4] = {htonl(ORLOP_SPREAD6)};
  const size_t size = family == AF_INET ? sizeof(to4) : sizeof(to6);
  rtmsg body = {};
  body.rtm_family = family;
  body.rtm_dst_len = family == AF_INET ? 10 : 64;
  body.rtm_table = RT_TABLE_LOCAL;
  body.rtm_protocol = RTPROT_STATIC;
  body.rtm_scope = RT_SCOPE_HOST;
  body.rtm_type = RTN_LOCAL;
  Request request(source ? RTM_NEWROUTE : RTM_DELROUTE, source ? NLM_F_CREATE | NLM_F_REPLACE : 0, body);
  request.Add(RTA_DST, family == AF_INET ? static_cast<const void*>(&to4) : to6, size);
  request.Add(RTA_OIF, kLoopbackIndex);
  if (source) request.Add(RTA_PREFSRC, source, size);
  return request.Send(netlink);
}

int OpenNetlink(UniqueFd* out) {
  out->reset(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!*out) return -errno;
  // The kernel answers in the same call; this only keeps a surprise from stopping the thread.
  const timeval limit = {1, 0};
  return setsockopt(out->get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 ? 0 : -errno;
}

// The setting in the namespace of the calling thread, through whatever mount it is opened. A container runtime mounts its container's
// /proc/sys read-only; daemonset/manifest.yaml mounts the node's beside it.
int WriteSysctl(const char* name) {
  int err = 0;
  for (const char* root : {"/proc/sys/net/", "/host/proc/sys/net/"}) {
    const UniqueFd file(open((std::string(root) + name).c_str(), O_WRONLY | O_CLOEXEC));
    if (file) return write(file.get(), "1", 1) == 1 ? 0 : -errno;
    if (err == 0) err = -errno;
    if (err != -EROFS) break;
  }
  return err;
}

}  // namespace

int PrepareLocalDial(std::string* step) {
  UniqueFd netlink;
  int err = OpenNetlink(&netlink);
  *step = "socket(NETLINK_ROUTE)";
  if (err < 0) return err;
  for (const uint8_t family : {AF_INET, AF_INET6}) {
    const std::string of = family == AF_INET ? " of IPv4" : " of IPv6";
    *step = "local route" + of;
    err = AddRoute(netlink.get(), family);
    if (family == AF_INET6 && NoSuchFamily(err)) break;
    if (err < 0 && err != -EEXIST) return err;
    *step = "socket(NETLINK_ROUTE)";
    UniqueFd list;
    err = OpenNetlink(&list);
    if (err < 0) return err;
    *step = "rules" + of;
    err = AskForRules(list.get(), family);
    if (err < 0) return err;
  }
  *step = "net.ipv4.tcp_fwmark_accept";  // For IPv6, too.
  err = WriteSysctl("ipv4/tcp_fwmark_accept");
  if (err < 0) return err;
  // The reset of a port on which nobody listens has no socket: it is routed by the mark of what it answers,
  // or it would leave the pod for the client whose address the agent borrowed, and the agent would wait for
  // its time-out.
  *step = "net.ipv4.fwmark_reflect";
  err = WriteSysctl("ipv4/fwmark_reflect");
  if (err < 0) return err;
  *step = "net.ipv6.fwmark_reflect";
  err = WriteSysctl("ipv6/fwmark_reflect");
  if (err < 0 && err != -ENOENT) return err;  // No IPv6 in this kernel.
  // Moves connections that wait at a closing listener to another listener of the same port (Linux 5.14,
  // Documentation/networking/ip-sysctl.rst: tcp_migrate_req). Listeners are handed over open, so capture does
  // not depend on it.
  WriteSysctl("ipv4/tcp_migrate_req");
  RouteDevices();
  return 0;
}

int RouteMarked(bool is_v6, std::string* step) {
  UniqueFd netlink;
  int err = OpenNetlink(&netlink);
  *step = "socket(NETLINK_ROUTE)";
  if (err < 0) return err;
  *step = "rule for our mark";
  err = Rule(netlink.get(), is_v6 ? AF_INET6 : AF_INET, true);
  return err == -EEXIST ? 0 : err;
}

void RouteDevices() {
  UniqueFd netlink;
  if (OpenNetlink(&netlink) < 0) return;
  for (const uint32_t device : AddressedDevices()) {
    for (const uint8_t family : {AF_INET, AF_INET6}) AddDeviceRoute(netlink.get(), family, device);
  }
}

int RouteToListener(const std::string& source, std::string* step) {
  uint8_t address[16];
  const uint8_t family = source.find(':') == std::string::npos ? AF_INET : AF_INET6;
  *step = "address " + source;
  if (inet_pton(family, source.c_str(), address) != 1) return -EINVAL;
  UniqueFd netlink;
  const int err = OpenNetlink(&netlink);
  *step = "socket(NETLINK_ROUTE)";
  if (err < 0) return err;
  *step = "route to the agent's listener";
  return ListenerRoute(netlink.get(), family, address);
}

int UndoRoutes(std::string* step) {
  UniqueFd netlink;
  int err = OpenNetlink(&netlink);
  *step = "socket(NETLINK_ROUTE)";
  if (err < 0) return err;
  for (const uint8_t family : {AF_INET, AF_INET6}) {
    *step = "rule for our mark";
    err = Rule(netlink.get(), family, false);
    if (err < 0 && err != -ENOENT && !NoSuchFamily(err)) return err;
    *step = "local route";
    err = RemoveRoutes(netlink.get(), family);
    if (err < 0) return err;
    *step = "route to the agent's listener";
    err = ListenerRoute(netlink.get(), family, nullptr);
    if (err < 0 && err != -ESRCH && !NoSuchFamily(err)) return err;
  }
  return 0;
}

}  // namespace orlop
