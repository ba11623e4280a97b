// 6, 13 · data thread · the phases of a connection: reported, decided, dialled, standing, ended with one
// `closed`.
#include "engine/relay/connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "engine/core/descriptor.h"
#include "engine/core/engine.h"
#include "engine/tunnel/tunnel.h"
#include "engine/tunnel/tunnel_pool.h"

namespace orlop {
namespace {

// TypeScript itself waits 5 s for what it has not heard of yet; its word comes first.
constexpr uint64_t kAnswerMs = 6'000;
constexpr uint64_t kConnectMs = 10'000;
// A tunnel's own deadlines (connect, handshake, verdict) come first; then the far end's connect.
constexpr uint64_t kTunnelMs = 20'000;
constexpr uint64_t kResponseMs = 15'000;

}  // namespace

Connection::Connection(Engine& engine, uint32_t pod_idx, const Endpoint& peer)
    : engine_(engine),
      pod_idx_(pod_idx),
      peer_(peer),
      down_(engine.chunks(), *this),
      up_(engine.chunks(), *this),
      started_us_(engine.NowUs()),
      deadline_([](void* self) { static_cast<Connection*>(self)->OnDeadline(); }, this) {
  stream.connection = this;
  engine_.CountConnection(1);
}

Connection::~Connection() {
  engine_.CountConnection(-1);
}

bool Connection::Adopt(SocketEnd& end, Descriptor fd) {
  end.fd = std::move(fd);
  return end.fd.Watch(engine_.loop(), &end);
}

void Connection::Drop(SocketEnd& end, bool reset) {
  if (!end.fd) return;
  reset ? end.fd.CloseWithReset() : end.fd.Close();
  end.readable = end.writable = false;
  end.out.Clear();
}

bool Connection::TakeAccepted(Descriptor fd) {
  down_.writable = true;
  return Adopt(down_, std::move(fd));
}

void Connection::Report(const orlop_engine_event& event, std::string_view authority) {
  phase_ = Phase::kDeciding;
  reported_ = true;
  ref_ = engine_.slots().Add(this);
  orlop_engine_event record = event;
  record.conn = ref_.index;
  record.generation = ref_.generation;
  record.pod_idx = pod_idx_;
  record.near = ToRecord(peer_);
  Texts texts;
  if (text) texts = {{authority, text->baggage, text->forwarded, text->traceparent}};
  engine_.events().Emit(record, texts);
  Deadline(kAnswerMs);
}

void Connection::Deadline(uint64_t after_ms) {
  engine_.timers().Start(&deadline_, after_ms);
}

void Connection::OnDeadline() {
  switch (phase_) {
    case Phase::kHeaders:
    case Phase::kDeciding:
      return Finish(CloseCause::kAnswerTimeout);
    case Phase::kWaitingSocket:
      return Finish(CloseCause::kNoSocket);
    case Phase::kConnecting:
    case Phase::kWaitingTunnel:
    case Phase::kWaitingResponse:
      return Finish(CloseCause::kConnectTimeout);
    case Phase::kOpen:  // a reset was seen, and what lay before it could not be passed on in time
      return ResetBy(up_.error ? up_ : down_, ECONNRESET);
    case Phase::kEnded:
      return;
  }
}

// --- decisions ------------------------------------------------------------------------------

void Connection::OnRelay(const Endpoint& to) {
  Dial(pod_idx_, to, nullptr);
}

void Connection::OnDial(uint32_t pod_idx, const Endpoint& to, const Endpoint* from,
                        std::string_view baggage) {
  if (text) text->baggage = baggage;
  Dial(pod_idx, to, from);
}

void Connection::OnTunnel(std::unique_ptr<ConnectText> request) {
  if (phase_ != Phase::kDeciding) return;
  // A connection has one stream, and a CONNECT came on it.
  if (server_stream_) return OnRefuse(503);
  answered_us_ = engine_.NowUs();
  text = std::move(request);
  target_ = text->to;
  phase_ = Phase::kWaitingTunnel;
  Deadline(kTunnelMs);
  engine_.tunnels().Request(this);
}

void Connection::OnRefuse(int status) {
  if (phase_ == Phase::kDeciding) Finish(CloseCause::kRefused, server_stream_ ? status : 0);
}

void Connection::Dial(uint32_t pod_idx, const Endpoint& to, const Endpoint* from) {
  if (phase_ != Phase::kDeciding) return;
  answered_us_ = engine_.NowUs();
  target_ = to;
  has_source_ = from != nullptr;
  if (from) source_ = *from;
  phase_ = Phase::kWaitingSocket;
  Deadline(kConnectMs);
  const bool v4 = to.IsV4();
  const SocketKind kind =
      from ? (v4 ? SocketKind::kLocal4 : SocketKind::kLocal6) : (v4 ? SocketKind::kOut4 : SocketKind::kOut6);
  SocketPool* pool = engine_.FindPool(pod_idx, kind);
  if (!pool) return Finish(CloseCause::kNoSocket);
  pool->Draw(this);
}

void Connection::OnSocket(Descriptor fd) {
  phase_ = Phase::kConnecting;
  const int error = StartConnect(fd.get(), target_, has_source_ ? &source_ : nullptr);
  if (!Adopt(up_, std::move(fd))) return Finish(CloseCause::kShed);
  if (error != 0) return Finish(CloseCause::kConnectFailed, error);
}

void Connection::OnConnected() {
  up_.writable = true;
  if (server_stream_) {
    const std::string baggage = text ? std::move(text->baggage) : "";
    Established("");
    stream.tunnel->h2().Respond(stream, 200, baggage);
  } else {
    Established("");
  }
  Pump();
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
  record.duration_us = engine_.NowUs() - answered_us_;
  engine_.events().Emit(record, {{{}, baggage, {}, {}}});
  text.reset();
}

// --- the tunnel -------------------------------------------------------------------------------

void Connection::OnTunnelReady(Tunnel* tunnel) {
  phase_ = Phase::kWaitingResponse;
  Deadline(kResponseMs);
  if (!tunnel->h2().Connect(this)) Finish(CloseCause::kH2Failed, 0, "the tunnel took no stream");
}

void Connection::OnTunnelFailed(CloseCause cause, int detail, std::string_view message) {
  Finish(cause, detail, message);
}

void Connection::OnResponse() {
  if (phase_ != Phase::kWaitingResponse) return;
  const int status = text ? text->status : 0;
  if (status != 200) return Finish(CloseCause::kTunnelRefused, status);
  const std::string baggage = std::move(text->baggage);
  Established(baggage);
  stream.tunnel->h2().StartData(stream);
  Pump();
}

void Connection::OnStreamClosed(uint32_t code) {
  stream_closed_ = true;
  if (phase_ == Phase::kEnded) return;
  if (phase_ == Phase::kOpen) {
    // CANCEL and NO_ERROR are how ztunnel and others end a stream whose other half they no longer read: a
    // FIN.
    if (code == NGHTTP2_NO_ERROR || code == NGHTTP2_CANCEL) return OnStreamEnd();
    return Finish(server_stream_ ? CloseCause::kResetByDownstream : CloseCause::kResetByUpstream,
                  static_cast<int>(code));
  }
  if (server_stream_) return Finish(CloseCause::kResetByDownstream, static_cast<int>(code));
  // REFUSED_STREAM says that nothing was done (a GOAWAY crossed our request): once more, elsewhere.
  if (code == NGHTTP2_REFUSED_STREAM && text && !text->retried) {
    text->retried = true;
    stream.tunnel->Retire();
    stream.tunnel->h2().Forget(stream);
    stream_closed_ = false;
    phase_ = Phase::kWaitingTunnel;
    return engine_.tunnels().Request(this);
  }
  Finish(CloseCause::kH2Failed, static_cast<int>(code), nghttp2_http2_strerror(code));
}

void Connection::OnTunnelLost(CloseCause cause, int detail, std::string_view message) {
  Tunnel* tunnel = stream.tunnel;
  stream.tunnel = nullptr;
  if (phase_ == Phase::kEnded) return;
  // Everything had arrived: what is left is only to be written out.
  if (stream_closed_) return;
  // The tunnel had been idle and its far end was gone: nothing of ours was done there.
  if (phase_ == Phase::kWaitingResponse && text && !text->retried && !tunnel->fresh()) {
    text->retried = true;
    phase_ = Phase::kWaitingTunnel;
    return engine_.tunnels().Request(this);
  }
  Finish(cause, detail, message);
}

// --- the end ------------------------------------------------------------------------------------

void Connection::Finish(CloseCause cause, int detail, std::string_view message) {
  if (phase_ == Phase::kEnded) return;
  const Phase before = phase_;
  phase_ = Phase::kEnded;
  deadline_.Cancel();
  CancelWait();
  if (before == Phase::kWaitingTunnel) engine_.tunnels().Cancel(this);
  if (Tunnel* tunnel = stream.tunnel) {
    H2Session& h2 = tunnel->h2();
    if (!app().out.empty()) h2.ConsumedKept(stream.id, app().out.size());
    size_t undelivered = 0;
    for (int i = 0; i < stream.piece_count; i++) undelivered += stream.pieces[i].iov_len;
    if (undelivered > 0) h2.Consumed(stream.id, undelivered);
    if (!stream_closed_) {
      if (server_stream_ && before < Phase::kOpen && cause != CloseCause::kProtocolError &&
          cause != CloseCause::kClosedByAnswer) {
        h2.Respond(stream, cause == CloseCause::kRefused ? detail : 503, {});
      } else {
        h2.Reset(stream,
                 cause == CloseCause::kProtocolError ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_CONNECT_ERROR);
      }
    }
    h2.Forget(stream);
  }
  Drop(down_, cause != CloseCause::kFinished);
  Drop(up_, cause != CloseCause::kFinished);
  if (reported_) {
    orlop_engine_event record{};
    record.type = ORLOP_ENGINE_CLOSED;
    record.conn = ref_.index;
    record.generation = ref_.generation;
    record.pod_idx = pod_idx_;
    record.kind = static_cast<uint32_t>(cause);
    record.detail = detail;
    record.sent_bytes = sent_;
    record.received_bytes = received_;
    record.duration_us = engine_.NowUs() - started_us_;
    engine_.events().Emit(record, {{message, {}, {}, {}}});
    engine_.slots().Remove(ref_);
  }
  engine_.Bury(this);
}

int Connection::SocketOf(bool upstream) const {
  const bool is_stream = upstream ? !server_stream_ && stream.tunnel != nullptr : server_stream_;
  if (is_stream) return stream.tunnel ? stream.tunnel->socket() : -1;
  return (upstream ? up_ : down_).fd.get();
}

}  // namespace orlop
