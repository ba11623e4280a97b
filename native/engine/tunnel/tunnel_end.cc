// 10, 11 · data thread · how a tunnel ends: in order, failed, or abused; what its peer, its streams and its owner hear of it.
#include <string>

#include "engine/tunnel/tunnel.h"
#include "engine/tunnel/tunnel_owner.h"

namespace orlop {

void Tunnel::Retire() {
  if (retired_ || phase_ == Phase::kEnded) return;
  retired_ = true;
  owner_.OnTunnelRetired(*this);
  if (phase_ != Phase::kOpen) return End(CloseCause::kDrained, 0, "");
  if (!h2_.goaway_received()) h2_.Goaway(NGHTTP2_NO_ERROR);
  MarkDirty();
}

void Tunnel::EndFailed(HandshakeFailure reason, std::string_view message) {
  if (phase_ == Phase::kEnded) return;
  if (role_ == Role::kServer) {
    orlop_engine_event record{};
    record.type = ORLOP_ENGINE_HANDSHAKE_FAILED;
    record.pod_idx = pod_idx_;
    record.near = ToRecord(peer_);
    record.kind = static_cast<uint32_t>(reason);
    services_.events.Emit(record, {{message, {}, {}, {}}});
  }
  if (role_ == Role::kClient && reason == HandshakeFailure::kClosed) unheard_ = true;
  const CloseCause cause =
      reason == HandshakeFailure::kRejectedPeer ? CloseCause::kTlsPeerRejected : CloseCause::kTlsFailed;
  End(cause, channel_.tls().alert(), message);
}

void Tunnel::EndAbused(std::string_view reason) {
  if (phase_ == Phase::kEnded) return;
  if (calm_until_ms_ == 0) ReportAbuse(reason);
  SayWhy();
  End(CloseCause::kProtocolError, 0, reason);
}

void Tunnel::ReportAbuse(std::string_view reason) {
  orlop_engine_event record{};
  record.type = ORLOP_ENGINE_TUNNEL_ABUSED;
  record.pod_idx = pod_idx_;
  record.near = ToRecord(peer_);
  record.identity = peer_identity_;
  services_.events.Emit(record, {{reason, {}, {}, {}}});
}

// GOAWAY with the reason, unless the peer does not even read what came before it.
void Tunnel::SayWhy() {
  if (channel_.broken() != 0 || !channel_.Flush()) return;
  PartedRoom room(services_.buffers.scratch().room, RecordsPerBuffer(), channel_.tls().SealsInPlace());
  h2_.Farewell(&room);
  said_why_ = (room.length() == 0 || channel_.Seal(&room)) && channel_.Send() && !channel_.full();
}

void Tunnel::End(CloseCause cause, int detail, std::string_view message) {
  if (phase_ == Phase::kEnded) return;
  const Phase before = phase_;
  phase_ = Phase::kEnded;
  // A server says SETTINGS as soon as it has accepted our certificate.
  if (cause == CloseCause::kTunnelLost && role_ == Role::kClient && !h2_.settings_received()) unheard_ = true;
  h2_.Stop();
  deadline_.Cancel();
  slow_.Cancel();
  unread_.Clear();
  CancelWait();
  if (before == Phase::kHandshaking) services_.stats.handshakes--;
  HandshakeOver();
  const std::string text(message);  // may lie in something that ends here
  if (!retired_) owner_.OnTunnelEnded(*this, cause, detail, text);
  h2_.LoseStreams(cause, detail, text);
  const bool orderly = before == Phase::kOpen && (retired_ || said_why_);
  // A failed handshake has sent its alert, and so has the refusal of an identity: a FIN lets the peer read it.
  channel_.Close(orderly, !orderly && before == Phase::kOpen);
  services_.slots.Remove(ref_);
  services_.turn.Bury(this);
}

}  // namespace orlop
