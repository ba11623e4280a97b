// 10, 11 · data thread · a tunnel's life: connect or accept, TLS, the verdict about its peer, HTTP/2. tunnel_end.cc has the end.
#include "engine/tunnel/tunnel.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "engine/core/answer.h"
#include "engine/pod/socket_source.h"
#include "engine/relay/dialer.h"
#include "engine/tunnel/identities.h"
#include "engine/tunnel/tunnel_owner.h"
#include "engine/tunnel/tunnel_times.h"

namespace orlop {
namespace {

constexpr uint64_t kConnectMs = 10'000;
constexpr uint64_t kHandshakeMs = 5'000;
// TypeScript itself waits 5 s for what it does not know yet, so its verdict comes first.
constexpr uint64_t kAnswerMs = 6'000;
// What a tunnel reads and seals per turn: 512 KiB in two buffers while nobody else waits for the thread, otherwise one of 128 KiB. Measured
// beside bulk, a round trip's median is 1.1 ms behind turns of 512 KiB and 0.4 ms behind turns of 128 KiB, for 3 % of the bulk.
constexpr int kBuffersAlone = 2;
constexpr size_t kRecordsAlone = PartedRoom::kMostParts;
constexpr int kBuffersAmongOthers = 1;
constexpr size_t kRecordsAmongOthers = 8;
// A tunnel takes no new streams in the last quarter of the time for which its peer's certificate was valid when the tunnel opened: the
// peer has another by then, and streams that run get that time to end by themselves.
constexpr int64_t kRetirePart = 4;

constexpr std::string_view kRootGone = "the root of the peer's certificate is no longer trusted";

// Windows, frames and streams (docs/reference/hbone.md).
constexpr H2Options OptionsOf(Role role) {
  H2Options options;
  options.role = role;
  options.stream_window = 4 << 20;
  options.connection_window = 16 << 20;
  if (role == Role::kServer) options.unanswered_window = 65'535;
  options.kept_most = 32 * size_t{4 << 20};  // 32 readers that take nothing
  options.max_frame = 1 << 20;
  options.server_streams = 200;
  options.client_streams = 100;
  options.field_bytes = role == Role::kServer ? 65'536 : 16'384;
  return options;
}
constexpr H2Options kServerOptions = OptionsOf(Role::kServer);
constexpr H2Options kClientOptions = OptionsOf(Role::kClient);

}  // namespace

Tunnel::Tunnel(const TunnelContext& context, Role role, TunnelOwner& owner, uint32_t pod_idx,
               const Endpoint& peer, int32_t identity)
    : context_(context),
      services_(context.services),
      owner_(owner),
      role_(role),
      pod_idx_(pod_idx),
      peer_(peer),
      identity_(identity),
      budget_(context.budgets.Use(PeerBudgets::kNobody, peer.addr)),
      toll_(services_.clock),
      channel_(services_, *this),
      unread_(services_.buffers.chunks),
      h2_(*this, toll_),
      deadline_([](void* self) { static_cast<Tunnel*>(self)->OnDeadline(); }, this),
      slow_([](void* self) { static_cast<Tunnel*>(self)->OnReady(0); }, this) {
  toll_.Use(&budget_->budget);
  ref_ = services_.slots.Add(this, Slots::Kind::kTunnel);
  services_.stats.tunnels++;
}

Tunnel::~Tunnel() {
  services_.stats.tunnels--;
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
      return AtRest();
    case Phase::kEnded:
      return;
  }
}

// Connecting.

void Tunnel::Accept(Descriptor fd) {
  accepting_ = true;
  sockaddr_storage address;
  socklen_t length = sizeof address;
  const bool named = getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0 &&
                     FromSockaddr(address, length, &local_);
  if (!channel_.Adopt(std::move(fd), this) || !named)
    return EndFailed(HandshakeFailure::kClosed, "the connection was gone at once");
  channel_.SetWritable();
  StartHandshake();
  if (phase_ == Phase::kEnded) return;
  toll_.Charge(&Budget::handshakes, "handshake flood");
  HeedToll();
}

void Tunnel::Dial(int32_t expect) {
  expect_ = expect;
  Deadline(kConnectMs);
  const SocketKind kind = peer_.IsV4() ? SocketKind::kOut4 : SocketKind::kOut6;
  if (!context_.sockets.Draw(pod_idx_, kind, this)) End(CloseCause::kNoSocket, 0, "");
}

void Tunnel::OnSocket(Descriptor fd, const DialPorts&) {
  phase_ = Phase::kConnecting;
  const int error = StartConnect(fd.get(), peer_);
  if (!channel_.Adopt(std::move(fd), this)) return End(CloseCause::kShed, 0, "");
  if (error != 0) EndUnconnected(error);
}

void Tunnel::Connected(uint32_t events) {
  const int error = ConnectResult(channel_.fd(), (events & (EPOLLERR | EPOLLHUP)) != 0);
  if (error != 0) return EndUnconnected(error);
  StartHandshake();
}

void Tunnel::EndUnconnected(int error) {
  unheard_ = error == ECONNREFUSED || error == ECONNRESET;
  End(CloseCause::kConnectFailed, error, "");
}

void Tunnel::StartHandshake() {
  phase_ = Phase::kHandshaking;
  Deadline(kHandshakeMs);
  services_.stats.handshakes++;
  const Context context = BorrowContext(identity_, role_);
  if (!context) return EndFailed(HandshakeFailure::kNoIdentity, "no certificate is installed for this pod");
  if (!channel_.tls().Open(context.get(), role_, &services_.buffers.scratch()))
    return EndFailed(HandshakeFailure::kProtocol, "out of memory");
  if (role_ == Role::kClient) ReceiveHandshake();
}

void Tunnel::HandshakeOver() {
  if (accepting_) owner_.OnHandshakeOver(peer_);
  accepting_ = false;
}

// The verdict about the peer.

void Tunnel::OnAnswer(const Answer& answer) {
  if (answer.type() == ORLOP_ANSWER_PEER) return OnPeer(answer.identity());
  if (answer.type() == ORLOP_ANSWER_CLOSE) return End(CloseCause::kClosedByAnswer, 0, "");
  OnRejectPeer();
}

void Tunnel::OnPeer(int32_t peer_identity) {
  if (phase_ != Phase::kDeciding) return;
  channel_.tls().Welcome();
  peer_identity_ = peer_identity;
  budget_ = context_.budgets.Use(peer_identity, peer_.addr);
  toll_.Use(&budget_->budget);
  if (!h2_.Open(role_ == Role::kServer ? kServerOptions : kClientOptions))
    return EndFailed(HandshakeFailure::kProtocol, "out of memory");
  phase_ = Phase::kOpen;
  opened_ms_ = idle_since_ms_ = services_.clock.now_ms();
  retire_before_ms_ = MsLeft(channel_.tls().verified()) / kRetirePart;
  ping_due_ms_ = services_.clock.now_ms() + context_.times.ping_every;
  Rest();
  MarkDirty();
  owner_.OnTunnelOpen(*this);
  if (phase_ == Phase::kOpen && Unread()) Receive();
}

void Tunnel::OnRejectPeer() {
  if (phase_ != Phase::kDeciding) return;
  channel_.tls().Refuse();
  channel_.Send();
  EndFailed(HandshakeFailure::kRejectedPeer, "the peer's identity is not welcome");
}

// Bytes.

int Tunnel::BuffersPerTurn() const {
  return services_.stats.connections <= 1 ? kBuffersAlone : kBuffersAmongOthers;
}

size_t Tunnel::RecordsPerBuffer() const {
  return services_.stats.connections <= 1 ? kRecordsAlone : kRecordsAmongOthers;
}

void Tunnel::OnReady(uint32_t events) {
  if (phase_ == Phase::kEnded || !channel_.open()) return;
  channel_.Note(events);
  if (phase_ == Phase::kConnecting) {
    if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) Connected(events);
    // The peer's first bytes or its FIN may have come with the same edge.
    if (phase_ != Phase::kHandshaking) return;
  }
  if (phase_ == Phase::kDeciding) {
    // A server may have turned us away already: its alert is read after the verdict.
    if ((events & EPOLLERR) && role_ == Role::kServer) {
      EndFailed(HandshakeFailure::kClosed, "the peer reset the connection");
    }
    return;
  }
  if (channel_.CanFlush()) MarkDirty();
  if (Unread()) Receive();
  const int broken = channel_.broken();
  if (broken == 0 || phase_ == Phase::kEnded) return;
  if (!unread_.empty() && !slow_.armed()) return;
  if (phase_ == Phase::kOpen) return End(CloseCause::kTunnelLost, broken, strerror(broken));
  EndFailed(HandshakeFailure::kClosed, strerror(broken));
}

void Tunnel::ReceiveHandshake() {
  TlsSession& tls = channel_.tls();
  const TlsSession::Step step = tls.Handshake();
  if (!channel_.Send()) return;
  if (step == TlsSession::Step::kWant) return;
  if (step == TlsSession::Step::kFailed) return EndFailed(tls.failure(), tls.message());
  if (!tls.AlpnIsH2()) return EndFailed(HandshakeFailure::kNoAlpn, "the peer does not speak h2");
  // The roots may have changed since the context was borrowed.
  if (!tls.PeerIsTrusted()) return EndFailed(HandshakeFailure::kUnknownIssuer, kRootGone);
  services_.stats.handshakes--;
  HandshakeOver();
  tls.TakeMessages();
  // What came behind the handshake must wait for the verdict.
  channel_.Hold();
  phase_ = Phase::kDeciding;
  Deadline(kAnswerMs);
  const std::vector<uint8_t> leaf = tls.PeerLeaf();
  orlop_engine_event record{};
  record.type = ORLOP_ENGINE_PEER_CERTIFICATE;
  record.conn = ref_.index;
  record.generation = ref_.generation;
  record.pod_idx = pod_idx_;
  record.near = ToRecord(peer_);
  record.kind = static_cast<uint32_t>(role_);
  record.identity = identity_;
  record.expect = expect_;
  services_.events.Emit(record, {{{reinterpret_cast<const char*>(leaf.data()), leaf.size()}, {}, {}, {}}});
}

void Tunnel::Flush() {
  if (phase_ != Phase::kOpen || channel_.broken() != 0) return;
  if (!channel_.Flush()) return;
  const int most = BuffersPerTurn();
  for (int seals = 0; seals < most; seals++) {
    PartedRoom room(services_.buffers.scratch().room, RecordsPerBuffer(), channel_.tls().SealsInPlace());
    if (!h2_.Produce(&room)) return End(CloseCause::kH2Failed, 0, h2_.error());
    if (!h2_.violation().empty()) {
      // nghttp2's GOAWAY is in there.
      if (channel_.Seal(&room)) channel_.Send();
      return EndAbused(h2_.violation());
    }
    if (toll_.waits()) HeedToll();
    if (room.length() == 0) {
      if (h2_.WantsNothing() || (retired_ && Living() == 0)) End(CloseCause::kTunnelLost, 0, "finished");
      return;
    }
    const TlsSession& tls = channel_.tls();
    if (!channel_.Seal(&room)) return End(CloseCause::kTlsFailed, tls.alert(), tls.message());
    // The socket is full: EPOLLOUT brings us back, and until then applications are not read.
    if (!channel_.Send() || channel_.full()) return;
  }
  MarkDirty();
}

// At rest.

// Until the next look at PING and at the peer's certificate. The wall clock is read each time, since it may be set meanwhile.
void Tunnel::Rest() {
  const int64_t left = MsLeft(channel_.tls().verified());
  const int64_t until_certificate = retired_ ? left : left - retire_before_ms_;
  const uint64_t due_ms = calm_until_ms_ != 0 ? calm_until_ms_ : ping_due_ms_;
  const int64_t until_ping = static_cast<int64_t>(due_ms - services_.clock.now_ms());
  Deadline(static_cast<uint64_t>(std::max<int64_t>(std::min(until_ping, until_certificate), 0)));
}

void Tunnel::AtRest() {
  const int64_t left = MsLeft(channel_.tls().verified());
  if (left <= 0) return End(CloseCause::kPeerCertificateEnded, 0, "the peer's certificate has expired");
  if (left <= retire_before_ms_) Retire();
  if (calm_until_ms_ != 0) {
    if (services_.clock.now_ms() >= calm_until_ms_) End(CloseCause::kProtocolError, 0, toll_.nuisance());
  } else if (services_.clock.now_ms() >= ping_due_ms_) {
    Keepalive();
  }
  if (phase_ == Phase::kOpen) Rest();
}

void Tunnel::CheckPeer() {
  const bool deciding = phase_ == Phase::kDeciding;
  if ((!deciding && phase_ != Phase::kOpen) || channel_.tls().PeerIsTrusted()) return;
  if (deciding) return EndFailed(HandshakeFailure::kUnknownIssuer, kRootGone);
  End(CloseCause::kPeerCertificateEnded, 0, kRootGone);
}

void Tunnel::Keepalive() {
  const uint64_t now = services_.clock.now_ms();
  const TunnelTimes& times = context_.times;
  ping_due_ms_ = now + times.ping_every;
  if (ping_sent_ms_ != 0 && !h2_.ping_answered()) {
    if (now - ping_sent_ms_ >= times.ping_answer)
      return End(CloseCause::kTunnelLost, ETIMEDOUT, "PING was not answered");
    return;
  }
  // SETTINGS come first. They have as long as an answer to PING.
  if (role_ == Role::kClient && !h2_.settings_received()) {
    if (now - opened_ms_ >= times.ping_answer)
      End(CloseCause::kH2Failed, ETIMEDOUT, "the peer sent no SETTINGS");
    return;
  }
  if (role_ == Role::kClient && h2_.streams() == 0 && now - idle_since_ms_ >= times.idle) return Retire();
  ping_sent_ms_ = now;
  h2_.Ping();
}

}  // namespace orlop
