// 10, 11 · data thread · a tunnel's bytes: records in and opened, frames out and sealed, one call to the
// kernel for many.
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/core/engine.h"
#include "engine/tunnel/hbone_server.h"
#include "engine/tunnel/tunnel.h"

namespace orlop {
namespace {

// As in connection.cc: the verdict's own limit comes first.
constexpr uint64_t kAnswerMs = 6'000;
// Buffers of one tunnel per turn: several while nobody else waits for the thread. Measured beside bulk, a
// round trip's median is 1.1 ms behind turns of four and 0.4 ms behind turns of one, for 3 % of the bulk.
constexpr int kBuffersAlone = 4;
constexpr int kBuffersAmongOthers = 1;
constexpr uint8_t kHandshakeRecord = 0x16;

}  // namespace

// --- reading -----------------------------------------------------------------------------------

void Tunnel::OnReady(uint32_t events) {
  if (phase_ == Phase::kEnded || !fd_) return;
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) readable_ = true;
  if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) hup_ = true;
  if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) writable_ = true;
  if (phase_ == Phase::kConnecting) {
    if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) Connected(events);
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
  const int most = engine_.OneConnection() ? kBuffersAlone : kBuffersAmongOthers;
  for (int reads = 0; reads < most; reads++) {
    size_t length = held_.size();
    if (length > 0) {
      memcpy(scratch.read, held_.data(), length);
      held_ = {};
    } else {
      if (!readable_) return;
      const ssize_t got = recv(fd_.get(), scratch.read, Scratch::kRead, 0);
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
  const int most = engine_.OneConnection() ? kBuffersAlone : kBuffersAmongOthers;
  for (int seals = 0; seals < most; seals++) {
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
    const ssize_t sent = send(fd_.get(), bytes, length, MSG_NOSIGNAL);
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
    const ssize_t sent = sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
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

}  // namespace orlop
