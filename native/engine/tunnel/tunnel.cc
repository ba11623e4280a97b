// 10, 11 · data thread · a tunnel's life: connect or accept, TLS, the verdict about its peer, HTTP/2, the
// end.
#include "engine/tunnel/tunnel.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/core/descriptor.h"
#include "engine/core/engine.h"
#include "engine/relay/connection.h"
#include "engine/tunnel/hbone_server.h"
#include "engine/tunnel/identities.h"
#include "engine/tunnel/tunnel_pool.h"

namespace orlop {
namespace {

constexpr uint64_t kConnectMs = 10'000;
constexpr uint64_t kHandshakeMs = 5'000;
// How long a heavy stream is remembered after it was last seen to be one.
constexpr uint64_t kHeavyMs = 1'000;

}  // namespace

Tunnel::Tunnel(Engine& engine, Role role, uint32_t pod_idx, const Endpoint& peer, int32_t identity)
    : engine_(engine),
      role_(role),
      pod_idx_(pod_idx),
      peer_(peer),
      identity_(identity),
      out_(engine.chunks()),
      h2_(*this),
      deadline_([](void* self) { static_cast<Tunnel*>(self)->OnDeadline(); }, this) {
  ref_ = engine_.slots().Add(this);
  engine_.CountTunnel(1);
}

Tunnel::~Tunnel() {
  engine_.CountTunnel(-1);
}

void Tunnel::Deadline(uint64_t after_ms) {
  engine_.timers().Start(&deadline_, after_ms);
}

void Tunnel::OnDeadline() {
  switch (phase_) {
    case Phase::kWaitingSocket:
      return End(CloseCause::kNoSocket, 0, "");
    case Phase::kConnecting:
      return End(CloseCause::kConnectTimeout, 0, "");
    case Phase::kHandshaking:
      return EndFailed(HandshakeFailure::kTimeout, "the TLS handshake took too long");
    case Phase::kDeciding:
      return OnRejectPeer();
    case Phase::kOpen:
      return Keepalive();
    case Phase::kEnded:
      return;
  }
}

// --- connecting --------------------------------------------------------------------------------

void Tunnel::Accept(Descriptor fd) {
  fd_ = std::move(fd);
  half_open_ = true;  // counted by hbone_server
  sockaddr_storage address;
  socklen_t length = sizeof address;
  if (getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0 ||
      !FromSockaddr(address, length, &local_) || !fd_.Watch(engine_.loop(), this)) {
    return EndFailed(HandshakeFailure::kClosed, "the connection was gone at once");
  }
  writable_ = true;
  StartHandshake();
}

void Tunnel::Dial(TunnelGroup* group, int32_t expect) {
  group_ = group;
  expect_ = expect;
  Deadline(kConnectMs);
  SocketPool* pool = engine_.FindPool(pod_idx_, peer_.IsV4() ? SocketKind::kOut4 : SocketKind::kOut6);
  if (!pool) return End(CloseCause::kNoSocket, 0, "");
  pool->Draw(this);
}

void Tunnel::OnSocket(Descriptor fd) {
  fd_ = std::move(fd);
  phase_ = Phase::kConnecting;
  const int error = StartConnect(fd_.get(), peer_, nullptr);
  if (!fd_.Watch(engine_.loop(), this)) return End(CloseCause::kShed, 0, "");
  if (error != 0) return End(CloseCause::kConnectFailed, error, "");
}

void Tunnel::Connected(uint32_t events) {
  const int error = ConnectResult(fd_.get(), events);
  if (error != 0) return End(CloseCause::kConnectFailed, error, "");
  StartHandshake();
}

void Tunnel::StartHandshake() {
  phase_ = Phase::kHandshaking;
  Deadline(kHandshakeMs);
  engine_.CountHandshake(1);
  const Context context = BorrowContext(identity_, role_);
  if (!context) return EndFailed(HandshakeFailure::kNoIdentity, "no certificate is installed for this pod");
  if (!tls_.Open(context.get(), role_, &engine_.scratch()))
    return EndFailed(HandshakeFailure::kProtocol, "out of memory");
  if (role_ == Role::kClient) ReceiveHandshake();
}

// --- the verdict about the peer ---------------------------------------------------------------

void Tunnel::OnPeer(int32_t peer_identity) {
  if (phase_ != Phase::kDeciding) return;
  peer_identity_ = peer_identity;
  if (!h2_.Open(role_)) return EndFailed(HandshakeFailure::kProtocol, "out of memory");
  phase_ = Phase::kOpen;
  idle_since_ms_ = engine_.now_ms();
  Deadline(engine_.tunnel_times().ping_every);
  MarkDirty();
  if (group_) engine_.tunnels().OnOpen(this, group_);
  if (phase_ == Phase::kOpen && (readable_ || !held_.empty())) Receive();
}

void Tunnel::OnRejectPeer() {
  if (phase_ != Phase::kDeciding) return;
  EndFailed(HandshakeFailure::kRejectedPeer, "the peer's identity is not welcome");
}

// --- the end -----------------------------------------------------------------------------------

void Tunnel::Keepalive() {
  const uint64_t now = engine_.now_ms();
  const TunnelTimes& times = engine_.tunnel_times();
  if (ping_sent_ms_ != 0 && !h2_.ping_answered()) {
    if (now - ping_sent_ms_ >= times.ping_answer)
      return End(CloseCause::kTunnelLost, ETIMEDOUT, "PING was not answered");
    return Deadline(times.ping_every);
  }
  if (role_ == Role::kClient && h2_.streams() == 0 && now - idle_since_ms_ >= times.idle) return Retire();
  ping_sent_ms_ = now;
  h2_.Ping();
  Deadline(times.ping_every);
}

void Tunnel::OnStreamGone() {
  idle_since_ms_ = engine_.now_ms();
  fresh_ = false;
  if (phase_ != Phase::kOpen) return;
  if (retired_ && h2_.streams() == 0) MarkDirty();
  if (group_) engine_.tunnels().OnRoom(group_);
}

bool Tunnel::heavy() const {
  return engine_.now_ms() < heavy_until_ms_;
}

void Tunnel::CarriesHeavy() {
  heavy_until_ms_ = engine_.now_ms() + kHeavyMs;
}

void Tunnel::Retire() {
  if (retired_ || phase_ == Phase::kEnded) return;
  retired_ = true;
  if (group_) engine_.tunnels().Leave(this, group_);
  group_ = nullptr;
  if (phase_ == Phase::kOpen) {
    if (!h2_.goaway_received()) h2_.Goaway(NGHTTP2_NO_ERROR);
    MarkDirty();
  } else {
    End(CloseCause::kDrained, 0, "");
  }
}

void Tunnel::EndFailed(HandshakeFailure reason, std::string_view message) {
  if (phase_ == Phase::kEnded) return;
  if (role_ == Role::kServer) {
    orlop_engine_event record{};
    record.type = ORLOP_ENGINE_HANDSHAKE_FAILED;
    record.pod_idx = pod_idx_;
    record.near = ToRecord(peer_);
    record.kind = static_cast<uint32_t>(reason);
    engine_.events().Emit(record, {{message, {}, {}, {}}});
  }
  const CloseCause cause =
      reason == HandshakeFailure::kRejectedPeer ? CloseCause::kTlsPeerRejected : CloseCause::kTlsFailed;
  End(cause, tls_.alert(), message);
}

void Tunnel::EndAbused(std::string_view reason) {
  if (phase_ == Phase::kEnded) return;
  orlop_engine_event record{};
  record.type = ORLOP_ENGINE_TUNNEL_ABUSED;
  record.pod_idx = pod_idx_;
  record.near = ToRecord(peer_);
  record.identity = peer_identity_;
  engine_.events().Emit(record, {{reason, {}, {}, {}}});
  End(CloseCause::kProtocolError, 0, reason);
}

void Tunnel::End(CloseCause cause, int detail, std::string_view message) {
  if (phase_ == Phase::kEnded) return;
  const Phase before = phase_;
  phase_ = Phase::kEnded;
  deadline_.Cancel();
  CancelWait();
  if (before == Phase::kHandshaking) engine_.CountHandshake(-1);
  if (half_open_) engine_.hbone().HalfOpenDone(peer_);
  const std::string text(message);  // may lie in something that ends here
  // First of all, so that a stream which tries again is not given this tunnel.
  if (TunnelGroup* group = group_) {
    group_ = nullptr;
    engine_.tunnels().OnEnded(this, group, cause, detail, text);
  }
  const std::vector<Connection*> connections = h2_.connections();
  for (Connection* connection : connections) {
    if (connection->stream.tunnel == this) connection->OnTunnelLost(cause, detail, text);
  }
  if (fd_) {
    const bool orderly = before == Phase::kOpen && retired_;
    if (orderly && tls_.opened()) {
      tls_.Shutdown();
      Scratch& scratch = engine_.scratch();
      if (out_.empty())
        send(fd_.get(), scratch.cipher_out, scratch.cipher_length, MSG_NOSIGNAL | MSG_DONTWAIT);
      scratch.cipher_length = 0;
    }
    // A failed handshake has sent its alert: a FIN lets the peer read it.
    !orderly&& before == Phase::kOpen ? fd_.CloseWithReset() : fd_.Close();
  }
  engine_.slots().Remove(ref_);
  engine_.Bury(this);
}

}  // namespace orlop
