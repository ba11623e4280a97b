// 13 · data thread · the far side of a connection, for itself or for a taker; where that is a socket: drawn, dialled, connected.
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "engine/core/answer.h"
#include "engine/pod/socket_source.h"
#include "engine/relay/connection.h"
#include "engine/relay/dialer.h"

namespace orlop {
namespace {

constexpr uint64_t kConnectMs = 10'000;
// Source ports tried while the client's address has connections to the application on those before.
constexpr uint8_t kRedials = 16;

}  // namespace

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
  socket_.Start(user);
  if (client_stream_) stream_.Start(user);
}

void Connection::OnTaken() {
  phase_ = Phase::kOpen;
  deadline_.Cancel();
  StartUpstream(*taker_);
  if (client_stream_) stream_.StartData();
  taker_->OnUpstream();
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
  if (accepted_ && !second_) second_ = std::make_unique<SocketEnd>(services_, *this);
  if (!up_socket()->Adopt(std::move(fd))) return Finish(CloseCause::kShed);
  if (error != 0) Finish(CloseCause::kConnectFailed, error);
}

void Connection::OnReady(ByteEnd& end) {
  if (phase_ == Phase::kEnded) return;
  const SocketEnd* const far = up_socket();
  if (phase_ == Phase::kConnecting && &end == far) {
    if (!far->writable()) return;
    const int error = ConnectResult(far->fd(), far->failed());
    if (error != 0) return Finish(CloseCause::kConnectFailed, error);
    return OnConnected();
  }
  if (static_cast<const SocketEnd&>(end).failed()) return Finish(CloseCause::kResetByDownstream);
  if (peeked_) Peek();
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

}  // namespace orlop
