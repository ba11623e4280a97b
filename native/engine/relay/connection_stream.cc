// 10, 11 · data thread · the stream of a connection in its tunnel: a CONNECT of ours, or of a peer, from its request to its end.
#include <memory>
#include <utility>

#include "engine/core/answer.h"
#include "engine/http2/h2_session.h"
#include "engine/relay/connection.h"
#include "engine/tunnel/tunnel.h"
#include "engine/tunnel/tunnel_pool.h"

namespace orlop {
namespace {

// A tunnel's own deadlines (connect, handshake, verdict) come first; then the far end's connect.
constexpr uint64_t kTunnelMs = 20'000;
constexpr uint64_t kResponseMs = 15'000;

}  // namespace

void Connection::OnTunnel(const Answer& answer) {
  // A connection has one stream, and a CONNECT came on it.
  if (server_stream_) return Finish(CloseCause::kRefused, 503);
  answered_us_ = services_.clock.now_us();
  target_ = answer.to();
  identity_ = answer.identity();
  expect_ = answer.expect();
  reports_ = answer.reports_not_reached();
  stream_.head = std::make_unique<ConnectHead>();
  stream_.head->authority = answer.Text(0);
  stream_.head->baggage = answer.Text(1);
  stream_.head->forwarded = answer.Text(2);
  stream_.head->traceparent = answer.Text(3);
  RequestTunnel();
}

void Connection::RequestTunnel() {
  client_stream_ = true;
  phase_ = Phase::kWaitingTunnel;
  Deadline(kTunnelMs);
  upstreams_.tunnels.Request(this, key());
}

void Connection::OnTunnelReady(Tunnel& tunnel) {
  phase_ = Phase::kWaitingResponse;
  if (!refused_) Deadline(kResponseMs);
  tunnel_ = &tunnel;
  if (!stream_.Request(tunnel.session())) Finish(CloseCause::kH2Failed, 0, "the tunnel took no stream");
}

void Connection::OnTunnelFailed(CloseCause cause, int detail, std::string_view message, bool unheard) {
  if (unheard && reports_) return ReportNotReached(cause, detail, message);
  Finish(cause, detail, message);
}

void Connection::OnConnectRequest() {
  ConnectHead& head = *stream_.head;
  if (!head.Acceptable()) return Finish(CloseCause::kRefused, 400);
  if (services_.room.LacksMemory(pod_idx_)) return OnNoRoom();
  head.LimitTelemetry();
  orlop_engine_event record{};
  record.type = ORLOP_ENGINE_CONNECT_REQUEST;
  record.target = ToRecord(tunnel_->local());
  record.identity = tunnel_->peer_identity();
  Report(record, head.authority);
}

void Connection::OnConnectResponse() {
  if (phase_ != Phase::kWaitingResponse) return;
  tunnel_->OnAnswered();
  const int status = stream_.head->status;
  if (status != 200) return Finish(CloseCause::kTunnelRefused, status);
  if (taker_) return OnTaken();
  const std::string baggage = std::move(stream_.head->baggage);
  Established(baggage);
  stream_.StartData();
  relay_.Pump();
}

void Connection::OnMisuse(std::string_view how) {
  Finish(CloseCause::kProtocolError, 0, how);
}

void Connection::OnNoRoom() {
  services_.stats.shed++;
  Finish(CloseCause::kShed);
}

void Connection::OnHeavy() {
  tunnel_->CarriesHeavy();
}

void Connection::OnStreamClosed(uint32_t code) {
  if (phase_ == Phase::kEnded) return;
  if (server_stream_) return Finish(CloseCause::kResetByDownstream, static_cast<int>(code));
  // Nothing was done: again, until the deadline. The pool paces it.
  if (code == NGHTTP2_REFUSED_STREAM) {
    refused_ = true;
    phase_ = Phase::kWaitingTunnel;
    tunnel_->OnRefused();
    stream_.Leave();
    return upstreams_.tunnels.Request(this, key());
  }
  Finish(CloseCause::kH2Failed, static_cast<int>(code), nghttp2_http2_strerror(code));
}

void Connection::OnSessionLost(CloseCause cause, int detail, std::string_view message) {
  if (phase_ == Phase::kEnded) return;
  if (phase_ == Phase::kWaitingResponse && reports_ && tunnel_->unheard())
    return ReportNotReached(cause, detail, message);
  // The tunnel had been idle and its far end was gone: nothing of ours was done there.
  if (phase_ == Phase::kWaitingResponse && !retried_ && !tunnel_->fresh()) {
    retried_ = true;
    phase_ = Phase::kWaitingTunnel;
    return upstreams_.tunnels.Request(this, key());
  }
  Finish(cause, detail, message);
}

void Connection::EndStream(Phase before, CloseCause cause, int detail) {
  stream_.GiveBack();
  if (!stream_.session()) return;
  const bool unanswered = client_stream_ && before == Phase::kWaitingResponse && stream_.head->status < 200;
  if (unanswered && !stream_.closed() && tunnel_->session().Sent(&stream_)) return tunnel_->Abandon(stream_);
  if (!stream_.closed()) {
    if (server_stream_ && before < Phase::kOpen && cause == CloseCause::kNoSocket && detail != 0) {
      stream_.ResetWith(static_cast<uint32_t>(detail));
    } else if (server_stream_ && before < Phase::kOpen && cause != CloseCause::kProtocolError &&
               cause != CloseCause::kClosedByAnswer) {
      stream_.Respond(cause == CloseCause::kRefused ? detail : 503, {});
    } else {
      stream_.ResetWith(cause == CloseCause::kProtocolError ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_CONNECT_ERROR);
    }
  }
  stream_.Leave();
}

}  // namespace orlop
