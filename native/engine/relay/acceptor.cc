// 4 · data thread · accept as many as are waiting. When descriptors or memory run short, a connection is reset, never left waiting.
#include "engine/relay/acceptor.h"

#include <fcntl.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <utility>

#include "engine/core/endpoint.h"
#include "engine/kernel/original_dst.h"
#include "engine/pod/pod.h"
#include "engine/relay/connection.h"
#include "engine/tunnel/hbone_server.h"

namespace orlop {
namespace {

// Per wake-up and listener; the set is level-triggered here, so the rest comes in the next turn. Of a pod whose verdicts take long it is less.
constexpr int kAcceptsPerTurn = 128;

}  // namespace

Acceptor::Acceptor(AcceptorContext& context, uint32_t pod_idx, const Pod& pod, ListenerKind kind,
                   Descriptor fd)
    : context_(context), pod_idx_(pod_idx), pod_(pod), kind_(kind), fd_(std::move(fd)) {}

// Every accepted socket inherits the options of its listener: they are set once instead of six calls a connection.
// HBONE has no urgent data, so an urgent byte is read in its order, as RFC 6093, section 6, recommends.
// An application's connection outlives quiet hours only if dead peers are noticed: 180 s, 9 × 180 s, as ztunnel.
bool Acceptor::Open() {
  const int on = 1, seconds = 180, probes = 9;
  setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd_.get(), SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
  setsockopt(fd_.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd_.get(), IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
  setsockopt(fd_.get(), IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
  setsockopt(fd_.get(), IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
  return fd_.WatchShared(context_.services.loop, this);
}

void Acceptor::OnReady(uint32_t) {
  PodShares& shares = context_.services.shares;
  const int most = shares.MayCome(pod_idx_, kAcceptsPerTurn);
  for (int taken = 0; taken < most && fd_; taken++) {
    sockaddr_storage address;
    socklen_t length = sizeof address;
    const int fd =
        accept4(fd_.get(), reinterpret_cast<sockaddr*>(&address), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      Take(Descriptor::Accepted(fd), address, length);
      shares.Came(pod_idx_, 1);
      continue;
    }
    // ECONNABORTED and the network errors of accept(2) concern one connection that is already gone.
    if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO) continue;
    if (errno == EMFILE || errno == ENFILE) ShedOne();
    return;
  }
}

// Accepts one connection with the last descriptor, resets it, and counts it.
void Acceptor::ShedOne() {
  context_.reserve.reset();
  Descriptor accepted(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (accepted) context_.services.stats.shed++;
  accepted.CloseWithReset();
  context_.reserve.reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
}

void Acceptor::Take(Descriptor fd, const sockaddr_storage& address, socklen_t length) {
  const EngineServices& services = context_.services;
  if (services.room.LacksDescriptors(pod_idx_) || services.room.LacksMemory(pod_idx_)) {
    services.stats.shed++;
    return fd.CloseWithReset();
  }
  services.stats.accepted++;
  Endpoint peer;
  // A peer that reset at once may have no address any more: unknown is refused.
  if (!FromSockaddr(address, length, &peer)) return fd.CloseWithReset();
  if (kind_ == ListenerKind::kHbone)
    return context_.hbone.Accept(pod_idx_, pod_.identity, std::move(fd), peer);

  orlop_engine_event record{};
  record.type = ORLOP_ENGINE_ACCEPTED;
  record.kind = static_cast<uint32_t>(kind_);
  sockaddr_storage address_here;
  socklen_t length_here = sizeof address_here;
  Endpoint here, target;
  if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address_here), &length_here) == 0 &&
      FromSockaddr(address_here, length_here, &here)) {
    if (kind_ != ListenerKind::kOutbound)
      record.target = ToRecord(here);
    else if (context_.flows.Take(pod_.netns_cookie, peer, here, &target))
      record.target = ToRecord(target);
  }
  auto* connection = new Connection(services, context_.upstreams, pod_idx_, peer);
  if (!connection->TakeAccepted(std::move(fd))) return connection->Finish(CloseCause::kShed);
  connection->Report(record);
}

}  // namespace orlop
