// 10, 11 · data thread · a tunnel's life: connect or accept, TLS, the verdict about its peer, HTTP/2, the
// end.
#include "engine/tunnel.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/connection.h"
#include "engine/descriptors.h"
#include "engine/engine.h"
#include "engine/hbone_server.h"
#include "engine/identities.h"
#include "engine/tunnel_pool.h"

namespace orlop {
namespace {

constexpr uint64_t kConnectMs = 10'000;
constexpr uint64_t kHandshakeMs = 5'000;
constexpr uint64_t kAnswerMs = 5'000;
constexpr uint64_t kPingEveryMs = 10'000;
constexpr uint64_t kPingAnswerMs = 20'000;
constexpr uint64_t kIdleMs = 300'000;
constexpr int kReadsPerTurn = 4;
constexpr int kSealsPerTurn = 4;
constexpr uint8_t kHandshakeRecord = 0x16;

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

void Tunnel::Accept(int fd) {
  fd_ = fd;
  half_open_ = true;  // counted by hbone_server
  sockaddr_storage address;
  socklen_t length = sizeof address;
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0 ||
      !FromSockaddr(address, length, &local_) || !engine_.loop().Watch(fd, this)) {
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

void Tunnel::OnSocket(int fd) {
  fd_ = fd;
  phase_ = Phase::kConnecting;
  const int error = StartConnect(fd, peer_, nullptr);
  if (!engine_.loop().Watch(fd, this)) return End(CloseCause::kShed, 0, "");
  if (error != 0) return End(CloseCause::kConnectFailed, error, "");
}

void Tunnel::Connected() {
  const int error = ConnectResult(fd_);
  if (error == EINPROGRESS) return;
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

// --- reading -----------------------------------------------------------------------------------

void Tunnel::OnReady(uint32_t events) {
  if (phase_ == Phase::kEnded || fd_ < 0) return;
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) readable_ = true;
  if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) hup_ = true;
  if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) writable_ = true;
  if (phase_ == Phase::kConnecting) {
    if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) Connected();
    return;
  }
  if (phase_ == Phase::kDeciding) {
    // A server may have turned us away already: its alert is read after the verdict.
    if ((events & EPOLLERR) && role_ == Role::kServer) {
      EndFailed(HandshakeFailure::kClosed, "the peer reset the connection");
    }
    return;
  }
  if (!out_.empty() && writable_) MarkDirty();
  if (readable_) Receive();
  if (broken_ == 0 || phase_ == Phase::kEnded) return;
  if (phase_ == Phase::kOpen) return End(CloseCause::kTunnelLost, broken_, strerror(broken_));
  EndFailed(HandshakeFailure::kClosed, strerror(broken_));
}

void Tunnel::Receive() {
  Scratch& scratch = engine_.scratch();
  for (int reads = 0; reads < kReadsPerTurn; reads++) {
    size_t length = held_.size();
    if (length > 0) {
      memcpy(scratch.read, held_.data(), length);
      held_ = {};
    } else {
      if (!readable_) return;
      const ssize_t got = recv(fd_, scratch.read, Scratch::kRead, 0);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) {
        readable_ = false;
        return;
      }
      if (got <= 0) {
        readable_ = false;
        const int error = got < 0 ? errno : 0;
        if (phase_ == Phase::kOpen) return End(CloseCause::kTunnelLost, error, "the peer closed the tunnel");
        return EndFailed(HandshakeFailure::kClosed,
                         error ? strerror(error) : "the peer closed during the handshake");
      }
      length = static_cast<size_t>(got);
      // A short read has emptied the socket: an edge will tell of more. Not so when the end is already there.
      if (length < Scratch::kRead && !hup_) readable_ = false;
    }
    if (first_read_ && role_ == Role::kServer && scratch.read[0] != kHandshakeRecord) {
      return EndFailed(HandshakeFailure::kPlaintext, "the first bytes are no TLS record");
    }
    first_read_ = false;
    tls_.Feed(scratch.read, length);
    if (phase_ == Phase::kHandshaking) {
      ReceiveHandshake();
    } else if (!ReceiveRecords()) {
      return;
    }
    if (phase_ != Phase::kHandshaking && phase_ != Phase::kOpen) return;
  }
  if (readable_) engine_.Again(this);
}

void Tunnel::ReceiveHandshake() {
  const TlsSession::Step step = tls_.Handshake();
  if (!SendCipher()) return;
  if (step == TlsSession::Step::kWant) return;
  if (step == TlsSession::Step::kFailed) return EndFailed(tls_.failure(), tls_.message());
  if (!tls_.AlpnIsH2()) return EndFailed(HandshakeFailure::kNoAlpn, "the peer does not speak h2");
  engine_.CountHandshake(-1);
  if (half_open_) engine_.hbone().HalfOpenDone(peer_);
  half_open_ = false;
  // What came behind the handshake must wait for the verdict.
  held_ = tls_.TakeRest();
  phase_ = Phase::kDeciding;
  Deadline(kAnswerMs);
  const std::vector<uint8_t> leaf = tls_.PeerLeaf();
  orlop_engine_event record{};
  record.type = ORLOP_ENGINE_PEER_CERTIFICATE;
  record.conn = ref_.index;
  record.generation = ref_.generation;
  record.pod_idx = pod_idx_;
  record.near = ToRecord(peer_);
  record.kind = static_cast<uint32_t>(role_);
  record.identity = identity_;
  record.expect = expect_;
  engine_.events().Emit(record, {{{reinterpret_cast<const char*>(leaf.data()), leaf.size()}, {}, {}, {}}});
}

void Tunnel::OnPeer(int32_t peer_identity) {
  if (phase_ != Phase::kDeciding) return;
  peer_identity_ = peer_identity;
  if (!h2_.Open(role_)) return EndFailed(HandshakeFailure::kProtocol, "out of memory");
  phase_ = Phase::kOpen;
  idle_since_ms_ = engine_.now_ms();
  Deadline(kPingEveryMs);
  MarkDirty();
  if (group_) engine_.tunnels().OnOpen(this, group_);
  if (phase_ == Phase::kOpen && (readable_ || !held_.empty())) Receive();
}

void Tunnel::OnRejectPeer() {
  if (phase_ != Phase::kDeciding) return;
  EndFailed(HandshakeFailure::kRejectedPeer, "the peer's identity is not welcome");
}

bool Tunnel::ReceiveRecords() {
  Scratch& scratch = engine_.scratch();
  while (true) {
    size_t length = 0;
    const TlsSession::Step step = tls_.Read(scratch.plain_in, sizeof scratch.plain_in, &length);
    if (length > 0 && !h2_.Receive(scratch.plain_in, length)) {
      if (phase_ != Phase::kEnded) EndAbused(h2_.violation());
      return false;
    }
    if (phase_ == Phase::kEnded) return false;
    if (step == TlsSession::Step::kDone) continue;
    if (step == TlsSession::Step::kFailed) {
      End(tls_.peer_closed() ? CloseCause::kTunnelLost : CloseCause::kTlsFailed, tls_.alert(),
          tls_.message());
      return false;
    }
    break;
  }
  MarkDirty();  // acknowledgements, window updates
  return SendCipher();
}

// --- writing -----------------------------------------------------------------------------------

void Tunnel::MarkDirty() {
  engine_.Dirty(this);
}

void Tunnel::Flush() {
  if (phase_ != Phase::kOpen || broken_ != 0) return;
  if (!out_.empty() && !WriteOut()) return;
  Scratch& scratch = engine_.scratch();
  for (int seals = 0; seals < kSealsPerTurn; seals++) {
    const ssize_t length = h2_.Produce();
    if (length < 0) return End(CloseCause::kH2Failed, 0, h2_.error());
    if (!h2_.violation().empty()) return EndAbused(h2_.violation());
    if (length == 0) {
      if (h2_.WantsNothing() || (retired_ && h2_.streams() == 0)) End(CloseCause::kTunnelLost, 0, "finished");
      return;
    }
    if (!tls_.Write(scratch.plain_out, static_cast<size_t>(length))) {
      return End(CloseCause::kTlsFailed, 0, tls_.message());
    }
    // The socket is full: EPOLLOUT brings us back, and until then applications are not read.
    if (!SendCipher() || !out_.empty()) return;
  }
  MarkDirty();
}

bool Tunnel::SendCipher() {
  Scratch& scratch = engine_.scratch();
  size_t length = scratch.cipher_length;
  scratch.cipher_length = 0;
  if (length == 0 || broken_ != 0) return true;
  const uint8_t* bytes = scratch.cipher_out;
  if (out_.empty() && writable_) {
    const ssize_t sent = send(fd_, bytes, length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
      Broke(errno);
      return false;
    }
    bytes += std::max<ssize_t>(sent, 0);
    length -= static_cast<size_t>(std::max<ssize_t>(sent, 0));
  }
  if (length > 0) {
    writable_ = false;
    out_.Append(bytes, length);
  }
  return true;
}

// Writing failed. What the peer said before it left (an alert, a GOAWAY) is the better reason: read first.
void Tunnel::Broke(int error) {
  broken_ = error;
  readable_ = true;
  engine_.Again(this);
}

bool Tunnel::WriteOut() {
  while (!out_.empty()) {
    if (!writable_) return false;
    iovec pieces[16];
    msghdr message{};
    message.msg_iov = pieces;
    message.msg_iovlen = static_cast<size_t>(out_.Front(pieces, 16));
    const ssize_t sent = sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      writable_ = false;
      if (errno != EAGAIN) Broke(errno);
      return false;
    }
    out_.Drop(static_cast<size_t>(sent));
  }
  return true;
}

// --- the end -----------------------------------------------------------------------------------

void Tunnel::Keepalive() {
  const uint64_t now = engine_.now_ms();
  if (ping_sent_ms_ != 0 && !h2_.ping_answered()) {
    if (now - ping_sent_ms_ >= kPingAnswerMs)
      return End(CloseCause::kTunnelLost, ETIMEDOUT, "PING was not answered");
    return Deadline(kPingEveryMs);
  }
  if (role_ == Role::kClient && h2_.streams() == 0 && now - idle_since_ms_ >= kIdleMs) return Retire();
  ping_sent_ms_ = now;
  h2_.Ping();
  Deadline(kPingEveryMs);
}

void Tunnel::OnStreamGone() {
  idle_since_ms_ = engine_.now_ms();
  fresh_ = false;
  if (phase_ != Phase::kOpen) return;
  if (retired_ && h2_.streams() == 0) MarkDirty();
  if (group_) engine_.tunnels().OnRoom(group_);
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
  if (fd_ >= 0) {
    const bool orderly = before == Phase::kOpen && retired_;
    if (orderly && tls_.opened()) {
      tls_.Shutdown();
      Scratch& scratch = engine_.scratch();
      if (out_.empty()) send(fd_, scratch.cipher_out, scratch.cipher_length, MSG_NOSIGNAL | MSG_DONTWAIT);
      scratch.cipher_length = 0;
    }
    // A failed handshake has sent its alert: a FIN lets the peer read it.
    CloseCounted(fd_, !orderly && before == Phase::kOpen);
    fd_ = -1;
  }
  engine_.slots().Remove(ref_);
  engine_.Bury(this);
}

}  // namespace orlop
