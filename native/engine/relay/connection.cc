// 6, 13 · data thread · the phases of a connection: reported, decided, dialled, open, ended with one `closed`.
#include "engine/relay/connection.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/core/answer.h"
#include "engine/http2/h2_session.h"
#include "engine/pod/socket_source.h"
#include "engine/relay/dialer.h"
#include "engine/tunnel/tunnel.h"
#include "engine/tunnel/tunnel_pool.h"

namespace orlop {
namespace {

// TypeScript itself waits 5 s for what it does not know yet, so its answer comes first.
constexpr uint64_t kAnswerMs = 6'000;
constexpr uint64_t kConnectMs = 10'000;
// Source ports tried while the client's address has connections to the application on those before.
constexpr uint8_t kRedials = 16;
// A tunnel's own deadlines (connect, handshake, verdict) come first; then the far end's connect.
constexpr uint64_t kTunnelMs = 20'000;
constexpr uint64_t kResponseMs = 15'000;

}  // namespace

Connection::Connection(const EngineServices& services, const Upstreams& upstreams, uint32_t pod_idx,
                       const Endpoint& peer)
    : services_(services),
      upstreams_(upstreams),
      pod_idx_(pod_idx),
      peer_(peer),
      down_(services, *this),
      up_(services, *this),
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
  down_.SetWritable();
  return down_.Adopt(std::move(fd));
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
  return (upstream ? up_ : down_).fd();
}

void Connection::OnDeadline() {
  switch (phase_) {
    case Phase::kHeaders:
    case Phase::kDeciding:
      return Finish(CloseCause::kAnswerTimeout);
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
  down_.Start(*session_);
  session_->Serve(down_, upstreams_.origins, ref_, pod_idx_);
  session_->Pump();
}

void Connection::Open(UpstreamUser& taker, const UpstreamRoute& route) {
  taker_ = &taker;
  target_ = route.to;
  if (route.way == OriginWay::kTunnel) {
    identity_ = route.identity;
    expect_ = route.expect;
    stream_.head = std::make_unique<ConnectHead>();
    stream_.head->authority = route.authority;
    stream_.head->baggage = route.baggage;
    stream_.head->forwarded = route.forwarded;
    return RequestTunnel();
  }
  has_source_ = route.has_from;
  source_ = route.from;
  dials_from_ = route.dials_in;
  Deadline(kConnectMs);
  DrawSocket();
}

void Connection::StartUpstream(ByteEnd::User& user) {
  up_.Start(user);
  if (client_stream_) stream_.Start(user);
}

void Connection::OnTaken() {
  phase_ = Phase::kOpen;
  deadline_.Cancel();
  StartUpstream(*taker_);
  if (client_stream_) stream_.StartData();
  taker_->OnUpstream();
}

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

void Connection::Dial(const Answer& answer, bool with_source) {
  answered_us_ = services_.clock.now_us();
  target_ = answer.to();
  reports_ = answer.reports_not_reached();
  has_source_ = with_source && answer.From(&source_);
  dials_from_ = with_source ? answer.pod_idx() : pod_idx_;
  Deadline(kConnectMs);
  DrawSocket();
}

void Connection::DrawSocket() {
  phase_ = Phase::kWaitingSocket;
  const bool v4 = target_.IsV4();
  const SocketKind kind = has_source_ ? (v4 ? SocketKind::kLocal4 : SocketKind::kLocal6)
                                      : (v4 ? SocketKind::kOut4 : SocketKind::kOut6);
  if (!upstreams_.sockets.Draw(dials_from_, kind, this)) OnNoSocket();
}

// A peer may ask again: nothing was done for it.
void Connection::OnNoSocket() {
  if (server_stream_) return Finish(CloseCause::kNoSocket, NGHTTP2_REFUSED_STREAM);
  reports_ ? ReportNotReached(CloseCause::kNoSocket, 0, "") : Finish(CloseCause::kNoSocket);
}

// Plaintext that was accepted from the very address from which the application is dialled: its port is the client's.
uint16_t Connection::TakenPort() const {
  const bool same = memcmp(source_.addr.bytes, peer_.addr.bytes, sizeof source_.addr.bytes) == 0;
  return same && !server_stream_ && dials_from_ == pod_idx_ ? peer_.port : 0;
}

void Connection::OnSocket(Descriptor fd, const DialPorts& dial) {
  phase_ = Phase::kConnecting;
  SourcePorts& ports = upstreams_.source_ports;
  const int error = has_source_ ? StartConnectFrom(fd.get(), target_, source_, TakenPort(), dial, ports)
                                : StartConnect(fd.get(), target_);
  if (has_source_ && error == EADDRNOTAVAIL && redials_ < kRedials) {
    // A bound socket keeps its port: another socket tries another port.
    redials_++;
    source_.port = 0;
    ports.Jump();
    fd.Close();
    return DrawSocket();
  }
  if (!up_.Adopt(std::move(fd))) return Finish(CloseCause::kShed);
  if (error != 0) Finish(CloseCause::kConnectFailed, error);
}

void Connection::OnReady(ByteEnd& end) {
  if (phase_ == Phase::kEnded) return;
  if (phase_ == Phase::kConnecting && &end == &up_) {
    if (!up_.writable()) return;
    const int error = ConnectResult(up_.fd(), up_.failed());
    if (error != 0) return Finish(CloseCause::kConnectFailed, error);
    return OnConnected();
  }
  if (static_cast<const SocketEnd&>(end).failed()) Finish(CloseCause::kResetByDownstream);
}

ssize_t Connection::OnPull(ByteEnd&, const Pieces&, bool*) {
  return -EAGAIN;
}

void Connection::OnConnected() {
  if (taker_) return OnTaken();
  const std::string baggage = stream_.head ? std::move(stream_.head->baggage) : "";
  Established("");
  if (server_stream_) stream_.Respond(200, baggage);
  session_ ? session_->Pump() : relay_.Pump();
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
  down_.Start(user);
  up_.Start(user);
  if (server_stream_ || client_stream_) stream_.Start(user);
  if (&user == &relay_) return relay_.Start(down(), up());
  session_->Start(down(), up(), ref_, pod_idx_);
}

void Connection::OnOpaque() {
  if (ByteEnd* origin = session_->StartOrigin(relay_)) {
    down_.Start(relay_);
    relay_.Start(down_, *origin);
  } else {
    StartBytes(relay_);
  }
  relay_.Pump();
}

void Connection::OnHttp2(std::string from_caller, std::string from_application) {
  h2c_ = std::make_unique<H2cSession>(services_, *this, session_->reading(), RequestsOf{ref_, pod_idx_});
  down_.Start(*h2c_);
  up_.Start(*h2c_);
  if (server_stream_ || client_stream_) stream_.Start(*h2c_);
  h2c_->Start(down(), up(), std::move(from_caller), std::move(from_application));
}

// The stream.

void Connection::OnConnectRequest() {
  ConnectHead& head = *stream_.head;
  if (!head.Acceptable()) return Finish(CloseCause::kRefused, 400);
  if (services_.buffers.Overloaded()) return OnNoRoom();
  head.LimitTelemetry();
  orlop_engine_event record{};
  record.type = ORLOP_ENGINE_CONNECT_REQUEST;
  record.target = ToRecord(tunnel_->local());
  record.identity = tunnel_->peer_identity();
  Report(record, head.authority);
}

void Connection::OnMisuse(std::string_view how) {
  Finish(CloseCause::kProtocolError, 0, how);
}

void Connection::OnNoRoom() {
  services_.stats.shed++;
  Finish(CloseCause::kShed);
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

void Connection::OnHeavy() {
  tunnel_->CarriesHeavy();
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

// The end.

void Connection::OnRelayEnded(const ByteEnd* broken, int error) {
  if (!broken) return Finish(CloseCause::kFinished);
  Finish(broken == &down() ? CloseCause::kResetByDownstream : CloseCause::kResetByUpstream, error);
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
  down_.Close(cause != CloseCause::kFinished);
  up_.Close(cause != CloseCause::kFinished);
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
