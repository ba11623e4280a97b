// 6, 13 · data thread · one connection from accept or CONNECT to its one `closed` event: its phases, its two sides.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/core/arena.h"
#include "engine/core/descriptor.h"
#include "engine/core/endpoint.h"
#include "engine/core/events.h"
#include "engine/core/services.h"
#include "engine/core/slots.h"
#include "engine/core/timer.h"
#include "engine/core/turn.h"
#include "engine/h2c/h2c_session.h"
#include "engine/http/http1_session.h"
#include "engine/pod/socket_waiter.h"
#include "engine/relay/relay.h"
#include "engine/relay/socket_end.h"
#include "engine/relay/upstream_route.h"
#include "engine/relay/upstream_user.h"
#include "engine/relay/upstreams.h"
#include "engine/tunnel/connect_stream.h"
#include "engine/tunnel/tunnel_key.h"
#include "engine/tunnel/tunnel_waiter.h"

namespace orlop {

class Tunnel;

class Connection final : public SlotOwner,
                         public SocketWaiter,
                         public TunnelWaiter,
                         public ConnectStream::Owner,
                         public ByteEnd::User,
                         public Relay::User,
                         public Http1Session::User,
                         public H2cSession::User,
                         public Turn::Mortal {
 public:
  enum class Phase : uint8_t {
    kHeaders,  // a stream whose request is not complete; TypeScript does not know it yet
    kDeciding,
    kWaitingSocket,
    kConnecting,
    kWaitingTunnel,
    kWaitingResponse,
    kOpen,
    kEnded,
  };

  Connection(const EngineServices& services, const Upstreams& upstreams, uint32_t pod_idx,
             const Endpoint& peer);
  ~Connection() override;

  // A new connection.
  // False: out of memory.
  bool TakeAccepted(Descriptor fd);
  // A CONNECT begins on `tunnel`: the stream is the downstream side.
  H2Stream* Serve(Tunnel& tunnel);
  // Only a far side, for `taker`, which may hear of it in this call. TypeScript does not know it.
  void Open(UpstreamUser& taker, const UpstreamRoute& route);
  // The same for another taker, once that is there.
  void HandOver(UpstreamUser& taker) { taker_ = &taker; }
  // Of its far side, once that is there.
  ByteEnd& upstream() { return up(); }
  void StartUpstream(ByteEnd::User& user);
  // TypeScript decides about it from here on.
  void Report(const orlop_engine_event& event, std::string_view authority = {});

  // Ends it, whatever its phase: FIN on what is open for kFinished, RST otherwise. Once; later calls do nothing.
  void Finish(CloseCause cause, int detail = 0, std::string_view message = {});

  // SlotOwner.
  void OnAnswer(const Answer& answer) override;
  void EndNow(CloseCause cause) override { Finish(cause); }
  uint32_t pod_idx() const override { return pod_idx_; }
  void Retire() override {
    if (h2c_) h2c_->Retire();
  }
  size_t buffered() const override {
    return socket_.buffered() + (second_ ? second_->buffered() : 0) + stream_.buffered() +
           (session_ ? session_->buffered() : 0) + (h2c_ ? h2c_->buffered() : 0);
  }
  bool Counters(uint64_t* sent, uint64_t* received) const override;
  int SocketOf(bool upstream) const override;
  // SocketWaiter, TunnelWaiter.
  void OnSocket(Descriptor fd, const DialPorts& dial) override;
  void OnTunnelReady(Tunnel& tunnel) override;
  void OnTunnelFailed(CloseCause cause, int detail, std::string_view message, bool unheard) override;
  // ConnectStream::Owner.
  void OnConnectRequest() override;
  void OnConnectResponse() override;
  void OnMisuse(std::string_view how) override;
  bool HasRoom() override { return !services_.room.LacksMemory(pod_idx_); }
  void OnNoRoom() override;
  void OnStreamClosed(uint32_t code) override;
  void OnHeavy() override;
  void OnSessionLost(CloseCause cause, int detail, std::string_view message) override;
  // ByteEnd::User, of the sockets until the relay has them.
  void OnReady(ByteEnd& end) override;
  void OnReset(ByteEnd&, int) override {}
  ssize_t OnPull(ByteEnd&, const Pieces&, bool*) override;
  // Relay::User.
  void OnRelayUnread() override { Finish(CloseCause::kUnread); }
  void OnRelayEnded(const ByteEnd* broken, int error) override;
  // Http1Session::User.
  void OnOpaque() override;
  void OnHttp2(std::string from_caller, std::string from_application) override;
  // Http1Session::User, H2cSession::User.
  void OnSessionEnded(CloseCause cause, int detail) override { Finish(cause, detail); }

 private:
  // TypeScript itself waits 5 s for what it does not know yet, so its answer comes first.
  static constexpr uint64_t kAnswerMs = 6'000;
  void Deadline(uint64_t after_ms) { services_.timers.Start(&deadline_, after_ms); }
  void OnDeadline();
  // Of the tunnel that it wants.
  TunnelKey key() const { return {pod_idx_, target_, identity_, expect_}; }
  void OnServe();
  // The first bytes of the side that was accepted, which stay where they are.
  void OnPeek(const Answer& answer);
  void Peek();
  void ReportFirstBytes(size_t length, bool is_all);
  void OnTunnel(const Answer& answer);
  void RequestTunnel();
  // Nothing was sent: TypeScript decides about it anew.
  void ReportNotReached(CloseCause cause, int detail, std::string_view message);
  void Dial(const Answer& answer, bool with_source);
  void DrawSocket();
  // The pod in whose namespace it would dial is not there.
  void OnNoSocket();
  // The port that a dial from `source_` may not have; 0: none.
  uint16_t TakenPort() const;
  void OnConnected();
  // The same, of a connection that a taker has.
  void OnTaken();
  // The far side is there: the relay has the bytes from here on. `baggage` came with it.
  void Established(std::string_view baggage);
  void StartBytes(ByteEnd::User& user);
  void StartSockets(ByteEnd::User& user);
  uint64_t sent_bytes() const {
    return relay_.sent() + (session_ ? session_->sent() : 0) + (h2c_ ? h2c_->sent() : 0);
  }
  uint64_t received_bytes() const {
    return relay_.received() + (session_ ? session_->received() : 0) + (h2c_ ? h2c_->received() : 0);
  }
  ByteEnd& down() { return server_stream_ ? static_cast<ByteEnd&>(stream_) : socket_; }
  // Once it is there.
  ByteEnd& up() { return client_stream_ ? static_cast<ByteEnd&>(stream_) : *up_socket(); }
  // Null: none was drawn.
  SocketEnd* up_socket() { return accepted_ ? second_.get() : &socket_; }
  const SocketEnd* up_socket() const { return accepted_ ? second_.get() : &socket_; }
  // The stream's part of Finish.
  void EndStream(Phase before, CloseCause cause, int detail);

  const EngineServices& services_;
  const Upstreams& upstreams_;
  uint32_t pod_idx_;
  Endpoint peer_;
  SlotRef ref_;
  bool reported_ = false;
  bool accepted_ = false;
  bool server_stream_ = false;  // the stream is the downstream side: a CONNECT that arrived
  bool client_stream_ = false;  // the stream is the upstream side
  bool has_source_ = false;
  bool retried_ = false;  // with another tunnel, since the first was lost
  bool reports_ = false;  // that the far end could not be reached
  bool refused_ = false;  // a tunnel's peer refused its stream; it has until the deadline of the first try
  uint8_t redials_ = 0;   // with another source port
  uint16_t peeked_ = 0;   // bytes that `peek` waits for; 0: it does not
  Phase phase_ = Phase::kHeaders;
  SocketEnd socket_;  // that was accepted; where none was, the upstream socket
  // The upstream socket of a connection that has two. A node holds many idle connections, and most of them have a stream.
  std::unique_ptr<SocketEnd> second_;
  ConnectStream stream_;
  Relay relay_;
  std::unique_ptr<Http1Session> session_;  // of a connection that is read; null: the relay has the bytes
  std::unique_ptr<H2cSession> h2c_;        // of a connection that is read, and turned out to be HTTP/2
  UpstreamUser* taker_ = nullptr;          // instead of a side that was accepted
  Tunnel* tunnel_ = nullptr;               // that carries the stream, while it is in the tunnel's session
  Endpoint target_;
  Endpoint source_;
  uint32_t dials_from_ = 0;  // the pod in whose namespace it dials
  int32_t identity_ = -1;    // ours in the tunnel, and the peers that are acceptable there
  int32_t expect_ = -1;
  uint64_t started_us_;
  uint64_t answered_us_ = 0;
  Timer deadline_;
};

}  // namespace orlop
