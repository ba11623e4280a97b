// 10, 11 · data thread · one HBONE tunnel: a TLS channel and an HTTP/2 session, at either end of it.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/core/descriptor.h"
#include "engine/core/endpoint.h"
#include "engine/core/events.h"
#include "engine/core/loop.h"
#include "engine/core/services.h"
#include "engine/core/slots.h"
#include "engine/core/timer.h"
#include "engine/core/turn.h"
#include "engine/http2/h2_handler.h"
#include "engine/http2/h2_session.h"
#include "engine/http2/toll.h"
#include "engine/pod/socket_waiter.h"
#include "engine/tunnel/peer_budgets.h"
#include "engine/tunnel/tls_channel.h"
#include "engine/tunnel/tunnel_context.h"

namespace orlop {

class TunnelOwner;

class Tunnel final : public Pollable,
                     public SocketWaiter,
                     public SlotOwner,
                     public H2Handler,
                     public Turn::Task,
                     public Turn::Flushable,
                     public Turn::Mortal {
 public:
  enum class Phase : uint8_t { kWaitingSocket, kConnecting, kHandshaking, kDeciding, kOpen, kEnded };

  Tunnel(const TunnelContext& context, Role role, TunnelOwner& owner, uint32_t pod_idx, const Endpoint& peer,
         int32_t identity);
  ~Tunnel() override;

  // Server: an accepted socket. Client: draw one and connect.
  void Accept(Descriptor fd);
  void Dial(int32_t expect);
  // No new streams; ends when the last stream has.
  void Retire() override;
  void StopServing() override {
    if (role_ == Role::kServer) Retire();
  }
  // Ends it and every stream on it. Once; later calls do nothing.
  void End(CloseCause cause, int detail, std::string_view message);
  void MarkDirty() { services_.turn.Dirty(this); }

  Role role() const { return role_; }
  Phase phase() const { return phase_; }
  uint32_t pod_idx() const override { return pod_idx_; }
  const Endpoint& peer() const { return peer_; }
  const Endpoint& local() const { return local_; }
  int32_t identity() const { return identity_; }
  int32_t peer_identity() const { return peer_identity_; }
  bool retired() const { return retired_; }
  // A stream fills its buffers: all others on it wait behind that.
  bool heavy() const { return services_.clock.now_ms() < heavy_until_ms_; }
  void CarriesHeavy();
  // No stream was ever answered on it.
  bool fresh() const { return fresh_; }
  // It was dialled, and TCP refused or ended it before the peer said anything in HTTP/2 or why in TLS: nobody there serves it yet, or any
  // more. No application has received anything.
  bool unheard() const { return unheard_; }

  // A client's streams.
  // How many more it takes now.
  uint32_t Room() const;
  // It has no room, but may have soon: that is no reason to dial another.
  bool Unsure() const;
  uint32_t abandoned() const { return abandoned_; }
  // Most abandoned streams that it takes others beside.
  uint32_t MostAbandoned() const;
  // The connection of `stream` has ended before the peer's answer. The stream leaves.
  void Abandon(H2Stream& stream);
  void OnAbandonedGone();
  void OnAnswered();
  // The peer did nothing for a stream, which is still in the session.
  void OnRefused();

  uint32_t streams() const override { return h2_.streams(); }
  H2Session& session() { return h2_; }
  // -1: it has none yet.
  int socket() const { return channel_.fd(); }

  // Pollable, SocketWaiter, SlotOwner.
  void OnReady(uint32_t events) override;
  void OnSocket(Descriptor fd, const DialPorts& dial) override;
  void OnAnswer(const Answer& answer) override;
  void EndNow(CloseCause cause) override { End(cause, 0, ""); }
  void CheckPeer() override;
  // Turn.
  void OnAgain() override { OnReady(0); }
  void Flush() override;
  // H2Handler.
  H2Stream* OnRequest() override;
  void OnGoaway() override { Retire(); }
  void OnStreamGone() override;
  void OnOutput() override { MarkDirty(); }

 private:
  void Deadline(uint64_t after_ms) { services_.timers.Start(&deadline_, after_ms); }
  void OnDeadline();
  void Connected(uint32_t events);
  void EndUnconnected(int error);
  void StartHandshake();
  void OnPeer(int32_t peer_identity);
  void OnRejectPeer();
  // There is something to read that no edge of epoll will announce.
  bool Unread() const { return channel_.readable() || !unread_.empty() || tls_over_; }
  void Receive();
  void ReceiveBuffers();
  void ReceiveHandshake();
  bool ReceiveUnread();
  bool ReceiveFrames();
  bool ReceivePlain(const uint8_t* bytes, size_t length);
  void OnFramesRead();
  void OnTlsOver();
  void HeedToll();
  void Calm();
  int BuffersPerTurn() const;
  size_t RecordsPerBuffer() const;
  void AtRest();
  void Rest();
  void Keepalive();
  void EndFailed(HandshakeFailure reason, std::string_view message);
  void EndAbused(std::string_view reason);
  void SayWhy();
  void ReportAbuse(std::string_view reason);
  void HandshakeOver();
  // Streams whose connections live.
  uint32_t Living() const { return h2_.streams() - abandoned_; }

  const TunnelContext& context_;
  const EngineServices& services_;
  TunnelOwner& owner_;
  Role role_;
  Phase phase_ = Phase::kWaitingSocket;
  uint32_t pod_idx_;
  Endpoint peer_;
  Endpoint local_;
  int32_t identity_;
  int32_t expect_ = -1;
  int32_t peer_identity_ = -1;
  SlotRef ref_;
  bool retired_ = false;
  bool said_why_ = false;  // the peer has been sent why the tunnel ends
  bool fresh_ = true;
  bool unheard_ = false;
  bool refused_ = false;         // a stream was refused, and none answered since
  uint32_t abandoned_ = 0;       // of the session's streams
  uint32_t believed_limit_ = 0;  // streams that were left when the peer last refused a stream
  uint64_t believed_until_ms_ = 0;
  bool accepting_ = false;  // accepted, and the owner has not heard yet that the handshake is over
  bool first_read_ = true;
  uint64_t opened_ms_ = 0;
  uint64_t idle_since_ms_ = 0;
  uint64_t heavy_until_ms_ = 0;
  uint64_t ping_sent_ms_ = 0;
  uint64_t ping_due_ms_ = 0;
  int64_t retire_before_ms_ = 0;  // the end of the peer's certificate
  uint64_t calm_until_ms_ = 0;    // 0: the peer has not been asked for calm
  bool tls_over_ = false;         // TLS has ended or failed behind unread_
  PeerBudgets::Share budget_;     // of the address; of the verified peer when the tunnel is open
  Toll toll_;
  TlsChannel channel_;
  ByteQueue unread_;  // plain bytes for which a turn had no time
  H2Session h2_;
  Timer deadline_;
  Timer slow_;  // armed: the peer is not read
};

}  // namespace orlop
