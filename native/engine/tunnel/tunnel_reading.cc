// 10, 11 · data thread · what a tunnel reads: records, frames, and the toll that its peer pays for them.
#include <algorithm>
#include <cstring>

#include "engine/core/buffers.h"
#include "engine/tunnel/tunnel.h"
#include "engine/tunnel/tunnel_owner.h"
#include "engine/tunnel/tunnel_times.h"

namespace orlop {
namespace {

// Of a peer that has lately caused more than its budget: what a single record holds, so that hardly anything waits to be read.
constexpr size_t kReadOfSlowed = 16 * 1024;
// A key update derives keys. About 2,000 instructions each.
constexpr uint32_t kTlsMessageWork = 16;
constexpr uint8_t kHandshakeRecord = 0x16;
// Of a turn's work.
constexpr int32_t kRequestsPerTurn = 32;
constexpr uint32_t kWorkOfRequest = Toll::kWorkPerTurn / kRequestsPerTurn;

}  // namespace

void Tunnel::Receive() {
  if (slow_.armed()) return;
  // Verdicts on what the peer asks for are the pod's.
  const int32_t may_come =
      role_ == Role::kServer ? services_.shares.MayCome(pod_idx_, kRequestsPerTurn) : kRequestsPerTurn;
  if (may_come == 0) return services_.turn.Again(this);
  toll_.Begin(services_.turn.number(), (kRequestsPerTurn - may_come) * kWorkOfRequest);
  const uint32_t before = toll_.requests();
  if (ReceiveUnread()) ReceiveBuffers();
  services_.shares.Came(pod_idx_, toll_.requests() - before);
  HeedToll();
}

void Tunnel::ReceiveBuffers() {
  const int most = BuffersPerTurn();
  for (int reads = 0; reads < most && !toll_.Stops(); reads++) {
    int error = 0;
    const size_t wanted = toll_.FellShortLately() ? kReadOfSlowed : RecordsPerBuffer() * PartedRoom::kRecord;
    switch (channel_.Fetch(wanted, &error)) {
      case TlsChannel::Fetched::kNothing:
        return;
      case TlsChannel::Fetched::kEnded:
        if (phase_ == Phase::kOpen) return End(CloseCause::kTunnelLost, error, "the peer closed the tunnel");
        return EndFailed(HandshakeFailure::kClosed,
                         error ? strerror(error) : "the peer closed during the handshake");
      case TlsChannel::Fetched::kRecords:
        break;
    }
    if (first_read_ && role_ == Role::kServer && channel_.first_byte() != kHandshakeRecord) {
      return EndFailed(HandshakeFailure::kPlaintext, "the first bytes are no TLS record");
    }
    first_read_ = false;
    if (phase_ == Phase::kHandshaking) {
      ReceiveHandshake();
    } else if (!ReceiveFrames()) {
      return;
    }
    if (phase_ != Phase::kHandshaking && phase_ != Phase::kOpen) return;
  }
}

// The peer waits for the tokens that it lacks; or what a turn had no time for is read in the next.
void Tunnel::HeedToll() {
  if (phase_ != Phase::kHandshaking && phase_ != Phase::kOpen) return;
  Stats& stats = services_.stats;
  stats.most_work = std::max(stats.most_work, toll_.work_done());
  stats.most_requests = std::max(stats.most_requests, toll_.requests());
  if (const uint64_t wait = toll_.TakeWait(); wait > 0) {
    stats.slowed++;
    services_.pauses.Start(&slow_, wait);
    if (phase_ == Phase::kOpen && toll_.ShortFor() >= context_.times.patience) Calm();
  } else if (Unread() && !slow_.armed()) {
    services_.turn.Again(this);
  }
}

// The peer has gone on although it was slowed. Its open streams go on for a while.
void Tunnel::Calm() {
  if (calm_until_ms_ != 0) return;
  calm_until_ms_ = services_.clock.now_ms() + context_.times.served_on;
  ReportAbuse(toll_.nuisance());
  if (!retired_) {
    retired_ = true;
    owner_.OnTunnelRetired(*this);
  }
  h2_.Goaway(NGHTTP2_ENHANCE_YOUR_CALM);
  Rest();
  MarkDirty();
}

// False: the tunnel has ended, or there is no time for more in this turn.
bool Tunnel::ReceiveUnread() {
  if (unread_.empty()) {
    if (tls_over_) OnTlsOver();
    return phase_ != Phase::kEnded;
  }
  while (!unread_.empty() && !toll_.Stops()) {
    iovec piece;
    unread_.Front(&piece, 1);
    size_t used = 0;
    if (!h2_.Receive(static_cast<uint8_t*>(piece.iov_base), piece.iov_len, &used)) {
      if (phase_ != Phase::kEnded) EndAbused(h2_.violation());
      return false;
    }
    if (phase_ == Phase::kEnded) return false;
    unread_.Drop(used);
  }
  OnFramesRead();
  if (!unread_.empty()) return false;
  if (tls_over_) OnTlsOver();
  return phase_ == Phase::kOpen;
}

void Tunnel::OnTlsOver() {
  const TlsSession& tls = channel_.tls();
  End(tls.peer_closed() ? CloseCause::kTunnelLost : CloseCause::kTlsFailed, tls.alert(), tls.message());
}

// False: the tunnel has ended.
bool Tunnel::ReceivePlain(const uint8_t* bytes, size_t length) {
  size_t used = 0;
  // What this turn has no time for waits in order.
  if (unread_.empty() && !h2_.Collect(bytes, length, &used)) {
    if (phase_ != Phase::kEnded) EndAbused(h2_.violation());
    return false;
  }
  if (phase_ == Phase::kEnded) return false;
  if (used < length) unread_.Append(bytes + used, length - used);
  return true;
}

// False: the tunnel has ended, or its socket is broken.
bool Tunnel::ReceiveFrames() {
  TlsSession& tls = channel_.tls();
  while (true) {
    TlsSession::Plain plain;
    const TlsSession::Step step = tls.Read(&plain);
    const uint32_t messages = tls.TakeMessages();
    for (uint32_t i = 0; i < messages; i++) {
      toll_.Work(kTlsMessageWork);
      toll_.Charge(&Budget::key_updates, "key update flood");
    }
    if (plain.length > 0 && !ReceivePlain(plain.begin, plain.length)) return false;
    if (step == TlsSession::Step::kFailed) {
      tls_over_ = true;
      // Our alert lies in a buffer of all tunnels, and what is delivered below may end others.
      channel_.Send();
      break;
    }
    if (step == TlsSession::Step::kWant) {
      channel_.HoldTorn();
      break;
    }
    if (messages > 0 && toll_.Stops()) {
      channel_.Hold();
      break;
    }
  }
  h2_.Deliver();
  if (phase_ == Phase::kEnded) return false;
  if (tls_over_ && unread_.empty()) {
    OnTlsOver();
    return false;
  }
  OnFramesRead();
  return channel_.Send();
}

void Tunnel::OnFramesRead() {
  if (h2_.TakeNewSettings() && role_ == Role::kClient) {
    h2_.RefuseUnsent();
    if (!retired_) owner_.OnTunnelRoom(*this);
  }
  MarkDirty();  // acknowledgements, window updates
}

}  // namespace orlop
