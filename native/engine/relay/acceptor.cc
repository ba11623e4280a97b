// 4 · data thread · accept as many as are waiting; shed with a reset, never in silence, when descriptors run
// short.
#include "engine/relay/acceptor.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "engine/core/descriptor.h"
#include "engine/core/engine.h"
#include "engine/kernel/original_dst.h"
#include "engine/relay/connection.h"

namespace orlop {
namespace {

// Per wake-up and listener; the set is level-triggered here, so the rest comes in the next turn.
constexpr int kAcceptsPerTurn = 128;

}  // namespace

Acceptor::Acceptor(Engine& engine, uint32_t pod_idx, ListenerKind kind, Descriptor fd)
    : engine_(engine), pod_idx_(pod_idx), kind_(kind), fd_(std::move(fd)) {}

// What a listener is told, every socket that it accepts inherits: once instead of five calls a connection.
// An application's connection outlives quiet hours only if dead peers are noticed: 180 s, 9 × 180 s, as
// ztunnel.
bool Acceptor::Open() {
  const int on = 1, seconds = 180, probes = 9;
  setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd_.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd_.get(), IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
  setsockopt(fd_.get(), IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
  setsockopt(fd_.get(), IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
  return fd_.WatchShared(engine_.loop(), this);
}

void Acceptor::OnReady(uint32_t) {
  // What comes from now on waits at the held listener for the next agent.
  if (engine_.draining()) return;
  for (int taken = 0; taken < kAcceptsPerTurn; taken++) {
    sockaddr_storage address;
    socklen_t length = sizeof address;
    const int fd =
        accept4(fd_.get(), reinterpret_cast<sockaddr*>(&address), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      Take(Descriptor(fd), address, length);
      continue;
    }
    // ECONNABORTED and the network errors of accept(2) concern one connection that is already gone.
    if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO) continue;
    if (errno == EMFILE || errno == ENFILE) engine_.ShedOne(fd_.get());
    return;
  }
}

void Acceptor::Take(Descriptor fd, const sockaddr_storage& address, uint32_t length) {
  if (DescriptorsShort() || engine_.Overloaded()) {
    engine_.CountShed();
    return fd.CloseWithReset();
  }
  engine_.CountAccepted();
  Endpoint peer;
  // A peer that reset at once may have no address any more: unknown is refused.
  if (!FromSockaddr(address, length, &peer)) return fd.CloseWithReset();
  const Pod* pod = engine_.FindPod(pod_idx_);
  if (!pod) return fd.CloseWithReset();
  if (kind_ == ListenerKind::kHbone)
    return engine_.hbone().Accept(pod_idx_, pod->identity, std::move(fd), peer);

  orlop_engine_event record{};
  record.type = ORLOP_ENGINE_ACCEPTED;
  record.kind = static_cast<uint32_t>(kind_);
  Endpoint target;
  if (kind_ == ListenerKind::kOutbound) {
    if (TakeOriginalDestination(engine_.flow_map(), pod->netns_cookie, peer, &target))
      record.target = ToRecord(target);
  } else {
    sockaddr_storage local;
    socklen_t local_length = sizeof local;
    if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&local), &local_length) == 0 &&
        FromSockaddr(local, local_length, &target)) {
      record.target = ToRecord(target);
    }
  }
  auto* connection = new Connection(engine_, pod_idx_, peer);
  if (!connection->TakeAccepted(std::move(fd))) return connection->Finish(CloseCause::kShed);
  connection->Report(record);
}

}  // namespace orlop
