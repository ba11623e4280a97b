// 6, 13 · data thread · the phases of a connection: reported, decided, open, ended with its only `closed`.
#include "engine/relay/connection.h"

#include <utility>

#include "engine/core/answer.h"
#include "engine/http2/h2_session.h"
#include "engine/tunnel/tunnel.h"

namespace orlop {

// A node holds a hundred thousand of these that do nothing.
static_assert(sizeof(Connection) <= 768);

Connection::Connection(const EngineServices& services, const Upstreams& upstreams, uint32_t pod_idx,
                       const Endpoint& peer)
    : services_(services),
      upstreams_(upstreams),
      pod_idx_(pod_idx),
      peer_(peer),
      socket_(services, *this),
      stream_(services, *this),
      relay_(services, *this),
      started_us_(services.clock.now_us()),
      deadline_([](void* self) { static_cast<Connection*>(self)->OnDeadline(); }, this) {
  services_.stats.connections++;
}

Connection::~Connection() {
  services_.stats.connections--;
}

bool Connection::TakeAccepted(Descriptor fd) {
  accepted_ = true;
  socket_.SetWritable();
  return socket_.Adopt(std::move(fd));
}

H2Stream* Connection::Serve(Tunnel& tunnel) {
  server_stream_ = true;
  tunnel_ = &tunnel;
  stream_.Serve();
  return &stream_;
}

void Connection::Report(const orlop_engine_event& event, std::string_view authority) {
  phase_ = Phase::kDeciding;
  reported_ = true;
  ref_ = services_.slots.Add(this, Slots::Kind::kConnection);
  orlop_engine_event record = event;
  record.conn = ref_.index;
  record.generation = ref_.generation;
  record.pod_idx = pod_idx_;
  record.near = ToRecord(peer_);
  Texts texts;
  if (const ConnectHead* head = stream_.head.get())
    texts = {{authority, head->baggage, head->forwarded, head->traceparent}};
  services_.events.Emit(record, texts);
  Deadline(kAnswerMs);
}

bool Connection::Counters(uint64_t* sent, uint64_t* received) const {
  *sent = sent_bytes();
  *received = received_bytes();
  return true;
}

// Of a stream it is the tunnel's.
int Connection::SocketOf(bool upstream) const {
  const bool is_stream = upstream ? client_stream_ : server_stream_;
  if (is_stream) return stream_.session() ? tunnel_->socket() : -1;
  const SocketEnd* const socket = upstream ? up_socket() : &socket_;
  return socket ? socket->fd() : -1;
}

void Connection::OnDeadline() {
  switch (phase_) {
    case Phase::kHeaders:
      return Finish(CloseCause::kAnswerTimeout);
    case Phase::kDeciding:
      return peeked_ ? ReportFirstBytes(0, true) : Finish(CloseCause::kAnswerTimeout);
    case Phase::kWaitingSocket:
      return Finish(CloseCause::kNoSocket);
    case Phase::kWaitingTunnel:
      if (refused_)
        return Finish(CloseCause::kH2Failed, NGHTTP2_REFUSED_STREAM, "the peer refused the stream each time");
      [[fallthrough]];
    case Phase::kConnecting:
    case Phase::kWaitingResponse:
      return Finish(CloseCause::kConnectTimeout);
    case Phase::kOpen:
    case Phase::kEnded:
      return;
  }
}

// Decisions.

void Connection::OnAnswer(const Answer& answer) {
  if (answer.type() == ORLOP_ANSWER_CLOSE) return Finish(CloseCause::kClosedByAnswer);
  if (phase_ == Phase::kOpen && h2c_) return h2c_->OnAnswer(answer);
  if (phase_ == Phase::kOpen && session_) return session_->OnAnswer(answer);
  if (phase_ != Phase::kDeciding) return;
  switch (answer.type()) {
    case ORLOP_ANSWER_RELAY:
      return Dial(answer, false);
    case ORLOP_ANSWER_DIAL:
      if (stream_.head) stream_.head->baggage = answer.Text(1);
      if (answer.reading() != HttpReading::kUnread)
        session_ = std::make_unique<Http1Session>(services_, *this, answer.reading());
      return Dial(answer, true);
    case ORLOP_ANSWER_TUNNEL:
      return OnTunnel(answer);
    case ORLOP_ANSWER_SERVE:
      return OnServe();
    case ORLOP_ANSWER_PEEK:
      return OnPeek(answer);
    case ORLOP_ANSWER_REFUSE:
      return Finish(CloseCause::kRefused, server_stream_ ? answer.status() : 0);
    default:
      return;  // a peer's verdict for what is no tunnel
  }
}

// It has no far side of its own: its requests have.
void Connection::OnServe() {
  if (server_stream_) return Finish(CloseCause::kRefused, 503);
  session_ = std::make_unique<Http1Session>(services_, *this, HttpReading::kOrEnd);
  phase_ = Phase::kOpen;
  deadline_.Cancel();
  socket_.Start(*session_);
  session_->Serve(socket_, upstreams_.origins, ref_, pod_idx_);
  session_->Pump();
}

void Connection::ReportNotReached(CloseCause cause, int detail, std::string_view message) {
  phase_ = Phase::kDeciding;
  client_stream_ = retried_ = refused_ = has_source_ = false;
  redials_ = 0;
  stream_.head.reset();
  session_.reset();
  tunnel_ = nullptr;
  orlop_engine_event record{};
  record.type = ORLOP_ENGINE_NOT_REACHED;
  record.conn = ref_.index;
  record.generation = ref_.generation;
  record.pod_idx = pod_idx_;
  record.near = ToRecord(target_);
  record.kind = static_cast<uint32_t>(cause);
  record.detail = detail;
  services_.events.Emit(record, {{message, {}, {}, {}}});
  Deadline(kAnswerMs);
}

void Connection::Established(std::string_view baggage) {
  phase_ = Phase::kOpen;
  deadline_.Cancel();
  orlop_engine_event record{};
  record.type = ORLOP_ENGINE_ESTABLISHED;
  record.conn = ref_.index;
  record.generation = ref_.generation;
  record.pod_idx = pod_idx_;
  record.near = ToRecord(target_);
  record.duration_us = services_.clock.now_us() - answered_us_;
  services_.events.Emit(record, {{{}, baggage, {}, {}}});
  if (!session_) return StartBytes(relay_);
  StartBytes(*session_);
}

void Connection::StartBytes(ByteEnd::User& user) {
  StartSockets(user);
  if (server_stream_ || client_stream_) stream_.Start(user);
  if (&user == &relay_) return relay_.Start(down(), up());
  session_->Start(down(), up(), ref_, pod_idx_);
}

void Connection::StartSockets(ByteEnd::User& user) {
  socket_.Start(user);
  if (second_) second_->Start(user);
}

void Connection::OnOpaque() {
  if (ByteEnd* origin = session_->StartOrigin(relay_)) {
    socket_.Start(relay_);
    relay_.Start(socket_, *origin);
  } else {
    StartBytes(relay_);
  }
  relay_.Pump();
}

void Connection::OnHttp2(std::string from_caller, std::string from_application) {
  h2c_ = std::make_unique<H2cSession>(services_, *this, session_->reading(), RequestsOf{ref_, pod_idx_});
  StartSockets(*h2c_);
  if (session_->serves()) return h2c_->Serve(socket_, upstreams_.origins, std::move(from_caller));
  if (server_stream_ || client_stream_) stream_.Start(*h2c_);
  h2c_->Start(down(), up(), std::move(from_caller), std::move(from_application));
}

// The end.

void Connection::OnRelayEnded(const ByteEnd* broken, int error) {
  if (!broken) return Finish(CloseCause::kFinished);
  Finish(broken == &down() ? CloseCause::kResetByDownstream : CloseCause::kResetByUpstream, error);
}

void Connection::Finish(CloseCause cause, int detail, std::string_view message) {
  if (phase_ == Phase::kEnded) return;
  const Phase before = phase_;
  phase_ = Phase::kEnded;
  deadline_.Cancel();
  relay_.Stop();
  if (session_) session_->Stop(cause);
  if (h2c_) h2c_->Stop(cause);
  CancelWait();
  Hook<TunnelWaiter>::Remove();
  EndStream(before, cause, detail);
  socket_.Close(cause != CloseCause::kFinished);
  if (second_) second_->Close(cause != CloseCause::kFinished);
  if (taker_) std::exchange(taker_, nullptr)->OnUpstreamEnded(cause, detail, message);
  if (reported_) {
    orlop_engine_event record{};
    record.type = ORLOP_ENGINE_CLOSED;
    record.conn = ref_.index;
    record.generation = ref_.generation;
    record.pod_idx = pod_idx_;
    record.kind = static_cast<uint32_t>(cause);
    record.detail = detail;
    record.sent_bytes = sent_bytes();
    record.received_bytes = received_bytes();
    record.duration_us = services_.clock.now_us() - started_us_;
    services_.events.Emit(record, {{message, {}, {}, {}}});
    services_.slots.Remove(ref_);
  }
  services_.turn.Bury(this);
}

}  // namespace orlop
