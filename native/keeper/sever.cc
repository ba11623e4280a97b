// keeper · ends connections that joined two pods of this node, by sock_diag(7).
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
#include <vector>

#include "orlop_abi.h"
#include "shared/unique_fd.h"

namespace orlop {
namespace {

// A walk may miss a socket when other sockets leave the table meanwhile, so walks are repeated until a walk
// finds nothing.
constexpr int kMaxWalks = 8;
constexpr size_t kReplyBytes = 256 << 10;
// Everything that may still carry data, SYN_SENT included.
constexpr uint32_t kStates = 0xfff & ~(1u << TCP_LISTEN | 1u << TCP_TIME_WAIT | 1u << TCP_CLOSE);

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

// What the hooks keep of the socket; false: nothing. What the map of another layout version lacks reads zero.
bool ReadSock(const nlmsghdr* message, struct orlop_sock* out) {
  const size_t head = NLMSG_LENGTH(NLMSG_ALIGN(sizeof(inet_diag_msg)));
  if (message->nlmsg_len < head) return false;
  const nlattr* all = Find(reinterpret_cast<const char*>(message) + head, message->nlmsg_len - head,
                           INET_DIAG_SK_BPF_STORAGES);
  const nlattr* value = FindIn(FindIn(all, SK_DIAG_BPF_STORAGE), SK_DIAG_BPF_STORAGE_MAP_VALUE);
  if (value == nullptr || value->nla_len < NLA_HDRLEN + kLeastSockBytes) return false;
  const size_t size = std::min<size_t>(value->nla_len - NLA_HDRLEN, sizeof(*out));
  std::memcpy(out, reinterpret_cast<const char*>(value) + NLA_HDRLEN, size);
  return true;
}

// Accepted in plaintext when that was let pass.
bool MustEndPlaintext(int plaintext, const struct orlop_sock& sock, uint16_t local_port) {
  struct orlop_in_key key = {};
  key.pod_idx = sock.pod_idx;
  key.port = local_port;
  uint32_t said = 0;
  if (bpf_map_lookup_elem(plaintext, &key, &said) != 0) {
    key.port = 0;
    if (bpf_map_lookup_elem(plaintext, &key, &said) != 0)
      return false;  // Its pod has gone: nobody judges it now.
  }
  return said != ORLOP_IN_PASS;
}

// Went direct as long as the mesh had nobody there.
bool MustEndOutside(int destinations, const struct orlop_sock& sock) {
  struct orlop_out_key key = {};
  key.dst = sock.dst;
  key.port = sock.dst_port;
  uint32_t said = 0;
  if (bpf_map_lookup_elem(destinations, &key, &said) == 0) return true;
  key.port = 0;
  return bpf_map_lookup_elem(destinations, &key, &said) == 0;
}

// `local_port` in wire order.
bool MustEnd(const SeverMaps& maps, const struct orlop_sock& sock, uint16_t local_port) {
  if ((sock.flags & ORLOP_SOCK_PASSIVE) != 0) {
    // The agent's own connections and joined ones are judged where they were dialled.
    const bool judged_elsewhere =
        (sock.flags & (ORLOP_SOCK_AGENT | ORLOP_SOCK_FROM_AGENT | ORLOP_SOCK_JOINED)) != 0;
    return !judged_elsewhere && MustEndPlaintext(maps.plaintext, sock, local_port);
  }
  if ((sock.flags & ORLOP_SOCK_OUTSIDE) != 0) return MustEndOutside(maps.destinations, sock);
  if ((sock.flags & ORLOP_SOCK_JOINED) == 0) return false;
  struct orlop_pair_key key = {};
  key.src_pod_idx = sock.pod_idx;
  key.dst_pod_idx = sock.to_pod_idx;
  key.port = sock.to_port;
  uint32_t said = 0;
  if (bpf_map_lookup_elem(maps.pairs, &key, &said) != 0) {
    key.port = 0;
    if (bpf_map_lookup_elem(maps.pairs, &key, &said) != 0)
      return false;  // Its pod has gone: nobody judges it now.
  }
  return said == ORLOP_PAIR_END;
}

int Ask(int netlink, uint8_t family, int socks) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 body;
    char attributes[64];
  } request = {};
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof(request.body));
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.body.sdiag_family = family;
  request.body.sdiag_protocol = IPPROTO_TCP;
  request.body.idiag_states = kStates;
  nlattr* nest = Append(&request.header, INET_DIAG_REQ_SK_BPF_STORAGES | NLA_F_NESTED, nullptr, 0);
  const auto fd = static_cast<uint32_t>(socks);
  const nlattr* last = Append(&request.header, SK_DIAG_BPF_STORAGE_REQ_MAP_FD, &fd, sizeof(fd));
  nest->nla_len = static_cast<uint16_t>(nest->nla_len + NLA_ALIGN(last->nla_len));
  return send(netlink, &request, request.header.nlmsg_len, 0) < 0 ? -errno : 0;
}

// Says of a socket, with its local port in wire order, whether it must end.
using Judge = std::function<bool(const struct orlop_sock& sock, uint16_t local_port)>;

// Those of one family that must end, as sock_diag names them.
int Walk(int netlink, uint8_t family, int socks, const Judge& must_end, std::vector<inet_diag_msg>* found) {
  const int err = Ask(netlink, family, socks);
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
      struct orlop_sock sock = {};
      if (!ReadSock(message, &sock)) continue;
      const auto* socket = static_cast<const inet_diag_msg*>(NLMSG_DATA(message));
      if (must_end(sock, socket->id.idiag_sport)) found->push_back(*socket);
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

// Walks and ends until a walk finds nothing more.
int EndWhere(int socks, const Judge& must_end, uint32_t* ended, std::string* step) {
  *step = "socket(NETLINK_SOCK_DIAG)";
  const UniqueFd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!netlink) return -errno;
  *ended = 0;
  for (int walk = 0; walk < kMaxWalks; walk++) {
    std::vector<inet_diag_msg> found;
    *step = "sock_diag: dump";
    for (const uint8_t family : {AF_INET, AF_INET6}) {
      const int err = Walk(netlink.get(), family, socks, must_end, &found);
      if (err < 0) return err;
    }
    if (found.empty()) return 0;
    *step = "sock_diag: SOCK_DESTROY";
    for (const inet_diag_msg& socket : found) {
      const int err = Destroy(netlink.get(), socket);
      if (err < 0) return err;
    }
    *ended += static_cast<uint32_t>(found.size());
  }
  return 0;
}

}  // namespace

int Sever(const SeverMaps& maps, uint32_t* ended, std::string* step) {
  const Judge judge = [&maps](const struct orlop_sock& sock, uint16_t local_port) {
    return MustEnd(maps, sock, local_port);
  };
  return EndWhere(maps.socks, judge, ended, step);
}

int EndMarked(int socks, uint32_t* ended, std::string* step) {
  const Judge judge = [](const struct orlop_sock& sock, uint16_t) {
    const bool passed = (sock.flags & ORLOP_SOCK_PASSIVE) != 0 &&
                        (sock.flags & (ORLOP_SOCK_AGENT | ORLOP_SOCK_FROM_AGENT)) == 0;
    return passed || (sock.flags & ORLOP_SOCK_JOINED) != 0;
  };
  return EndWhere(socks, judge, ended, step);
}

}  // namespace orlop
