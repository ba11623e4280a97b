// keeper · ends connections of a pod that nobody sits in between of and that are no longer allowed, by sock_diag(7).
#include "keeper/sever.h"

#include <bpf/bpf.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <functional>
#include <string>
#include <unordered_set>
#include <vector>

#include "orlop_abi.h"
#include "shared/unique_fd.h"

namespace orlop {
namespace {

// A walk may miss a socket when other sockets leave the table meanwhile, so walks are repeated until a walk
// finds nothing.
constexpr int kMaxWalks = 8;
constexpr size_t kReplyBytes = 256 << 10;
// Everything that may still carry data, SYN_SENT and requests included, and listeners for their ports.
constexpr uint32_t kStates = 0xfff & ~(1u << TCP_TIME_WAIT | 1u << TCP_CLOSE);

nlattr* Append(nlmsghdr* header, uint16_t type, const void* bytes, size_t size) {
  auto* attribute =
      reinterpret_cast<nlattr*>(reinterpret_cast<char*>(header) + NLMSG_ALIGN(header->nlmsg_len));
  attribute->nla_type = type;
  attribute->nla_len = static_cast<uint16_t>(NLA_HDRLEN + size);
  if (size > 0) std::memcpy(reinterpret_cast<char*>(attribute) + NLA_HDRLEN, bytes, size);
  header->nlmsg_len = NLMSG_ALIGN(header->nlmsg_len) + NLA_ALIGN(attribute->nla_len);
  return attribute;
}

// The first attribute of `type` among `size` bytes of them, or null.
const nlattr* Find(const void* from, size_t size, uint16_t type) {
  const char* at = static_cast<const char*>(from);
  while (size >= NLA_HDRLEN) {
    const auto* attribute = reinterpret_cast<const nlattr*>(at);
    const size_t length = attribute->nla_len;
    if (length < NLA_HDRLEN || length > size) return nullptr;
    if ((attribute->nla_type & NLA_TYPE_MASK) == type) return attribute;
    const size_t step = NLA_ALIGN(length);
    if (step > size) return nullptr;
    at += step;
    size -= step;
  }
  return nullptr;
}

const nlattr* FindIn(const nlattr* nest, uint16_t type) {
  if (nest == nullptr) return nullptr;
  return Find(reinterpret_cast<const char*>(nest) + NLA_HDRLEN, nest->nla_len - NLA_HDRLEN, type);
}

// Flags and what comes before them are the same in every layout version.
constexpr size_t kLeastSockBytes = offsetof(struct orlop_sock, flags) + sizeof(orlop_sock::flags);

// The first attribute of `type` of a socket's message, or null.
const nlattr* FindOf(const nlmsghdr* message, uint16_t type) {
  const size_t head = NLMSG_LENGTH(NLMSG_ALIGN(sizeof(inet_diag_msg)));
  if (message->nlmsg_len < head) return nullptr;
  return Find(reinterpret_cast<const char*>(message) + head, message->nlmsg_len - head, type);
}

// 0 also when the kernel does not say it.
uint32_t ReadMark(const nlmsghdr* message) {
  uint32_t mark = 0;
  const nlattr* attribute = FindOf(message, INET_DIAG_MARK);
  if (attribute != nullptr && attribute->nla_len == NLA_HDRLEN + sizeof(mark))
    std::memcpy(&mark, reinterpret_cast<const char*>(attribute) + NLA_HDRLEN, sizeof(mark));
  return mark;
}

// What the hooks keep of the socket; false: nothing. What the map of another layout version lacks reads zero.
bool ReadSock(const nlmsghdr* message, struct orlop_sock* out) {
  const nlattr* all = FindOf(message, INET_DIAG_SK_BPF_STORAGES);
  const nlattr* value = FindIn(FindIn(all, SK_DIAG_BPF_STORAGE), SK_DIAG_BPF_STORAGE_MAP_VALUE);
  if (value == nullptr || value->nla_len < NLA_HDRLEN + kLeastSockBytes) return false;
  const size_t size = std::min<size_t>(value->nla_len - NLA_HDRLEN, sizeof(*out));
  std::memcpy(out, reinterpret_cast<const char*>(value) + NLA_HDRLEN, size);
  return true;
}

// A socket as sock_diag shows it.
struct Seen {
  inet_diag_msg socket;
  // False: dialled or accepted before the pod was captured, on loopback, or not established yet.
  bool has_storage;
  struct orlop_sock sock;
  uint32_t mark;  // of a request: its listener's
};

// A request that waits for the last packet of its handshake is shown in this state, too.
bool IsRequest(const Seen& seen) {
  return seen.socket.idiag_state == TCP_SYN_RECV;
}

struct orlop_addr AddressOf(const inet_diag_msg& socket, const __be32* words) {
  struct orlop_addr out = {};
  if (socket.idiag_family == AF_INET) {
    out.bytes[10] = out.bytes[11] = 0xff;
    std::memcpy(out.bytes + 12, words, 4);
  } else {
    std::memcpy(out.bytes, words, sizeof(out.bytes));
  }
  return out;
}

bool SameAddress(const struct orlop_addr& a, const struct orlop_addr& b) {
  return std::memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

bool IsLoopback(const struct orlop_addr& address) {
  static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  static constexpr uint8_t kOne[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return (std::memcmp(address.bytes, kMapped, sizeof(kMapped)) == 0 && address.bytes[12] == 127) ||
         std::memcmp(address.bytes, kOne, sizeof(kOne)) == 0;
}

// As the hooks see an arrival: from the other end to this socket.
struct orlop_tuple ArrivalOf(const inet_diag_msg& socket) {
  struct orlop_tuple out = {};
  out.src = AddressOf(socket, socket.id.idiag_dst);
  out.dst = AddressOf(socket, socket.id.idiag_src);
  out.src_port = socket.id.idiag_dport;
  out.dst_port = socket.id.idiag_sport;
  return out;
}

// All sockets of a namespace that may carry data, and the ports on which it listens.
struct Namespace {
  std::vector<Seen> sockets;
  std::unordered_set<uint16_t> listening;
  std::unordered_set<std::string> arrivals;
};

std::string KeyOf(const struct orlop_tuple& tuple) {
  return {reinterpret_cast<const char*>(&tuple), sizeof(tuple)};
}

// Is the other end of this connection a socket of the same namespace?
bool IsInside(const Namespace& all, const struct orlop_tuple& arrival) {
  struct orlop_tuple departure = {};
  departure.src = arrival.dst;
  departure.dst = arrival.src;
  departure.src_port = arrival.dst_port;
  departure.dst_port = arrival.src_port;
  return all.arrivals.count(KeyOf(departure)) != 0;
}

bool IsOwnPort(uint16_t port) {
  return port == htons(ORLOP_PORT_OUTBOUND) || port == htons(ORLOP_PORT_INBOUND) ||
         port == htons(ORLOP_PORT_HBONE);
}

// What in_by_port says, as sk_lookup reads it: a miss refuses.
uint32_t PlaintextVerdict(const SeverMaps& maps, uint16_t local_port) {
  struct orlop_in_key key = {};
  key.pod_idx = maps.pod_idx;
  key.port = local_port;
  uint32_t said = 0;
  if (maps.plaintext.Find(key, &said)) return said;
  key.port = 0;
  return maps.plaintext.Find(key, &said) ? said : ORLOP_IN_REFUSE;
}

// The pod that has this address now; 0: none of this node.
uint32_t PodAt(const SeverMaps& maps, const struct orlop_addr& address) {
  struct orlop_pod_ip pod = {};
  return maps.pods.Find(address, &pod) ? pod.pod_idx : 0;
}

// Would a connection from one pod to the other's port be allowed? Of pods that nobody speaks of, it would not be joined.
bool PairMayStay(const SeverMaps& maps, uint32_t from, uint32_t to, uint16_t port) {
  struct orlop_pair_key key = {};
  key.src_pod_idx = from;
  key.dst_pod_idx = to;
  key.port = port;
  uint32_t said = 0;
  if (!maps.pairs.Find(key, &said)) {
    key.port = 0;
    if (!maps.pairs.Find(key, &said)) return false;
  }
  return said == ORLOP_PAIR_JOIN || said == ORLOP_PAIR_STAY;
}

// Would a program of the node that was let in by this cgroup (0: by being of the node) be let in to the port now?
bool NodeMayStay(const SeverMaps& maps, uint64_t cgroup, uint16_t port) {
  struct orlop_node_access access = {};
  if (!maps.node_access.Find(0, &access) || access.netns_cookie == 0) return false;
  uint32_t said = 0;
  if (cgroup == 0 ? access.everybody == 0 : !maps.node_cgroups.Find(cgroup, &said)) return false;
  struct orlop_in_key key = {};
  key.pod_idx = maps.pod_idx;
  key.port = port;
  if (maps.node_ports.Find(key, &said)) return true;
  key.port = 0;
  return maps.node_ports.Find(key, &said);
}

// Went direct as long as the mesh had nobody there.
bool MustEndOutside(const SeverMaps& maps, const struct orlop_sock& sock) {
  struct orlop_out_key key = {};
  key.dst = sock.dst;
  key.port = sock.dst_port;
  uint32_t said = 0;
  if (maps.destinations.Find(key, &said)) return true;
  key.port = 0;
  return maps.destinations.Find(key, &said);
}

// The application's side of a handshake or connection of which the hooks keep nothing.
bool MustEndUnmarked(const SeverMaps& maps, const Seen& seen, const Namespace& all) {
  const struct orlop_tuple arrival = ArrivalOf(seen.socket);
  if (IsLoopback(arrival.src) || IsLoopback(arrival.dst) || SameAddress(arrival.src, arrival.dst))
    return false;
  if (IsOwnPort(arrival.dst_port)) return false;
  if (!IsRequest(seen)) {
    // What the pod dialled is judged where it arrives.
    if (all.listening.count(arrival.dst_port) == 0 || IsInside(all, arrival)) return false;
    return PlaintextVerdict(maps, arrival.dst_port) != ORLOP_IN_PASS;
  }
  struct orlop_admitted admitted = {};
  if (maps.agent_flows.Find(arrival, &admitted)) return false;
  struct orlop_node_flow node = {};
  if (maps.node_flows.Find(arrival, &node) && NodeMayStay(maps, node.cgroup, arrival.dst_port)) return false;
  struct orlop_joined joined = {};
  if (maps.joined_flows.Find(arrival, &joined))
    return !PairMayStay(maps, joined.src_pod_idx, maps.pod_idx, arrival.dst_port);
  const uint32_t said = PlaintextVerdict(maps, arrival.dst_port);
  // With the application although the agent has to judge by now: it would become a connection that no agent sees. A pod that may set
  // the mark itself can answer without the kernel's TCP as well (docs/threat-model.md).
  if (said == ORLOP_IN_AGENT) return seen.mark != ORLOP_INBOUND_MARK;
  return said != ORLOP_IN_PASS;
}

bool MustEnd(const SeverMaps& maps, const Seen& seen, const Namespace& all) {
  if (maps.pod_idx == 0) return seen.has_storage && (seen.sock.flags & ORLOP_SOCK_JOINED) != 0;
  if (!seen.has_storage) return MustEndUnmarked(maps, seen, all);
  const struct orlop_sock& sock = seen.sock;
  const uint16_t local_port = seen.socket.id.idiag_sport;
  if ((sock.flags & ORLOP_SOCK_PASSIVE) != 0) {
    // The agent judges its own connections.
    if ((sock.flags & (ORLOP_SOCK_AGENT | ORLOP_SOCK_FROM_AGENT)) != 0) return false;
    // A new connection to an address that no Workload lists any more would neither be joined nor let in from the node.
    const bool listed = PodAt(maps, AddressOf(seen.socket, seen.socket.id.idiag_src)) != 0;
    if ((sock.flags & ORLOP_SOCK_FROM_NODE) != 0 && listed && NodeMayStay(maps, sock.node_cgroup, local_port))
      return false;
    if ((sock.flags & ORLOP_SOCK_JOINED) == 0) return PlaintextVerdict(maps, local_port) != ORLOP_IN_PASS;
    if (!listed) return true;
    // Who called is judged by its address: its index may be of an enrollment that has ended.
    const struct orlop_addr caller = AddressOf(seen.socket, seen.socket.id.idiag_dst);
    return sock.pod_idx != maps.pod_idx || !PairMayStay(maps, PodAt(maps, caller), maps.pod_idx, local_port);
  }
  if ((sock.flags & ORLOP_SOCK_OUTSIDE) != 0) return MustEndOutside(maps, sock);
  if ((sock.flags & ORLOP_SOCK_JOINED) == 0) return false;
  // Joined under another enrollment of either end: nobody knows as whom.
  if (sock.pod_idx != maps.pod_idx || PodAt(maps, sock.to) != sock.to_pod_idx) return true;
  return !PairMayStay(maps, sock.pod_idx, sock.to_pod_idx, sock.to_port);
}

// The older of the kernel's two requests shows both families in one dump. A dump costs a walk over the sockets of all namespaces,
// whichever it asks for.
int Ask(int netlink, int socks) {
  struct {
    nlmsghdr header;
    inet_diag_req body;
    char attributes[64];
  } request = {};
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof(request.body));
  request.header.nlmsg_type = TCPDIAG_GETSOCK;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.body.idiag_states = kStates;
  nlattr* nest = Append(&request.header, INET_DIAG_REQ_SK_BPF_STORAGES | NLA_F_NESTED, nullptr, 0);
  const auto fd = static_cast<uint32_t>(socks);
  const nlattr* last = Append(&request.header, SK_DIAG_BPF_STORAGE_REQ_MAP_FD, &fd, sizeof(fd));
  nest->nla_len = static_cast<uint16_t>(nest->nla_len + NLA_ALIGN(last->nla_len));
  return send(netlink, &request, request.header.nlmsg_len, 0) < 0 ? -errno : 0;
}

// Adds the sockets to `all`.
int Walk(int netlink, int socks, Namespace* all) {
  const int err = Ask(netlink, socks);
  if (err < 0) return err;
  std::vector<char> reply(kReplyBytes);
  for (;;) {
    const ssize_t got = recv(netlink, reply.data(), reply.size(), MSG_TRUNC);
    if (got < 0) return -errno;
    if (static_cast<size_t>(got) > reply.size()) return -EMSGSIZE;
    auto left = static_cast<uint32_t>(got);
    for (const auto* message = reinterpret_cast<const nlmsghdr*>(reply.data()); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_type == NLMSG_DONE) return 0;
      if (message->nlmsg_type == NLMSG_ERROR) return static_cast<const nlmsgerr*>(NLMSG_DATA(message))->error;
      if (message->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) return -EPROTO;
      Seen seen = {};
      seen.socket = *static_cast<const inet_diag_msg*>(NLMSG_DATA(message));
      if (seen.socket.idiag_state == TCP_LISTEN) {
        all->listening.insert(seen.socket.id.idiag_sport);
        continue;
      }
      seen.has_storage = ReadSock(message, &seen.sock);
      seen.mark = ReadMark(message);
      all->arrivals.insert(KeyOf(ArrivalOf(seen.socket)));
      all->sockets.push_back(seen);
    }
  }
}

// Exactly this socket: the kernel compares its cookie. A socket that has ended meanwhile is no error.
int Destroy(int netlink, const inet_diag_msg& socket) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 body;
  } request = {};
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof(request.body));
  request.header.nlmsg_type = SOCK_DESTROY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request.body.sdiag_family = socket.idiag_family;
  request.body.sdiag_protocol = IPPROTO_TCP;
  request.body.idiag_states = kStates;
  request.body.id = socket.id;
  if (send(netlink, &request, request.header.nlmsg_len, 0) < 0) return -errno;
  alignas(nlmsghdr) char reply[1024];
  const ssize_t size = recv(netlink, reply, sizeof(reply), 0);
  if (size < 0) return -errno;
  const auto* answer = reinterpret_cast<const nlmsghdr*>(reply);
  if (!NLMSG_OK(answer, static_cast<uint32_t>(size)) || answer->nlmsg_type != NLMSG_ERROR) return -EPROTO;
  const int err = static_cast<const nlmsgerr*>(NLMSG_DATA(answer))->error;
  return err == -ENOENT ? 0 : err;
}

using Judge = std::function<bool(const Seen& seen, const Namespace& all)>;

// Walks and ends until a walk finds nothing more.
int EndWhere(int socks, const Judge& must_end, uint32_t* ended, std::string* step) {
  *step = "socket(NETLINK_SOCK_DIAG)";
  const UniqueFd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!netlink) return -errno;
  *ended = 0;
  for (int walk = 0; walk < kMaxWalks; walk++) {
    Namespace all;
    *step = "sock_diag: dump";
    const int err = Walk(netlink.get(), socks, &all);
    if (err < 0) return err;
    *step = "sock_diag: SOCK_DESTROY";
    uint32_t found = 0;
    for (const Seen& seen : all.sockets) {
      if (!must_end(seen, all)) continue;
      const int err = Destroy(netlink.get(), seen.socket);
      if (err < 0) return err;
      found++;
    }
    if (found == 0) return 0;
    *ended += found;
  }
  return 0;
}

}  // namespace

int Sever(const SeverMaps& maps, uint32_t* ended, std::string* step) {
  *step = "bpf(BPF_OBJ_GET_INFO_BY_FD)";
  if (!maps.pairs.Fits() || !maps.plaintext.Fits() || !maps.pods.Fits() || !maps.agent_flows.Fits() ||
      !maps.joined_flows.Fits() || !maps.destinations.Fits() || !maps.node_flows.Fits() ||
      !maps.node_access.Fits() || !maps.node_cgroups.Fits() || !maps.node_ports.Fits())
    return -EINVAL;
  const Judge judge = [&maps](const Seen& seen, const Namespace& all) { return MustEnd(maps, seen, all); };
  return EndWhere(maps.socks, judge, ended, step);
}

int EndMarked(int socks, uint32_t* ended, std::string* step) {
  const Judge judge = [](const Seen& seen, const Namespace&) {
    const uint32_t flags = seen.has_storage ? seen.sock.flags : 0;
    const bool passed =
        (flags & ORLOP_SOCK_PASSIVE) != 0 && (flags & (ORLOP_SOCK_AGENT | ORLOP_SOCK_FROM_AGENT)) == 0;
    return passed || (flags & ORLOP_SOCK_JOINED) != 0;
  };
  return EndWhere(socks, judge, ended, step);
}

}  // namespace orlop
