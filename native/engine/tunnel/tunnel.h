// 10, 11 · data thread · one HBONE tunnel: a socket, a TLS session, an HTTP/2 session; either end of it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/buffers.h"
#include "engine/core/descriptor.h"
#include "engine/core/endpoint.h"
#include "engine/core/events.h"
#include "engine/core/loop.h"
#include "engine/core/slots.h"
#include "engine/core/timers.h"
#include "engine/http2/h2.h"
#include "engine/relay/dialer.h"
#include "engine/tunnel/tls.h"

namespace orlop {

class Engine;
class TunnelGroup;

class Tunnel final : public Pollable, public SocketWaiter {
 public:
  enum class Phase : uint8_t { kWaitingSocket, kConnecting, kHandshaking, kDeciding, kOpen, kEnded };

  Tunnel(Engine& engine, Role role, uint32_t pod_idx, const Endpoint& peer, int32_t identity);
  virtual ~Tunnel();

  // Server: an accepted socket. Client: draw one and connect.
  void Accept(Descriptor fd);
  void Dial(TunnelGroup* group, int32_t expect);
  void OnReady(uint32_t events) override;
  void OnSocket(Descriptor fd) override;
  void OnPeer(int32_t peer_identity);
  void OnRejectPeer();
  // Seals and sends what the session has; called once per turn for each tunnel that is dirty.
  void Flush();
  void MarkDirty();
  // No new streams; ends when the last one has.
  void Retire();
  // Ends it and every stream on it. Once.
  void End(CloseCause cause, int detail, std::string_view message);
  void EndFailed(HandshakeFailure reason, std::string_view message);
  void EndAbused(std::string_view reason);
  void OnStreamGone();

  Role role() const { return role_; }
  Phase phase() const { return phase_; }
  uint32_t pod_idx() const { return pod_idx_; }
  const Endpoint& peer() const { return peer_; }
  const Endpoint& local() const { return local_; }
  int32_t identity() const { return identity_; }
  int32_t peer_identity() const { return peer_identity_; }
  bool retired() const { return retired_; }
  int socket() const { return fd_.get(); }
  // A stream fills its buffers: whoever else speaks here waits behind that.
  bool heavy() const;
  void CarriesHeavy();
  bool fresh() const { return fresh_; }
  uint32_t streams() const { return h2_.streams(); }
  H2Session& h2() { return h2_; }
  Engine& engine() { return engine_; }
  bool dirty = false;     // stands in the engine's list to be flushed
  bool in_again = false;  // stands in the engine's list for the next turn

 private:
  void Deadline(uint64_t after_ms);
  void OnDeadline();
  void Connected(uint32_t events);
  void StartHandshake();
  void Receive();
  void ReceiveHandshake();
  bool ReceiveRecords();
  // scratch.cipher_out → socket, or to out_ what it does not take. False: the socket is broken.
  bool SendCipher();
  bool WriteOut();
  void Broke(int error);
  void Keepalive();

  Engine& engine_;
  Role role_;
  Phase phase_ = Phase::kWaitingSocket;
  uint32_t pod_idx_;
  Endpoint peer_;
  Endpoint local_;
  int32_t identity_;
  int32_t expect_ = -1;
  int32_t peer_identity_ = -1;
  SlotRef ref_;
  Descriptor fd_;
  bool readable_ = false;
  bool writable_ = false;
  bool hup_ = false;  // FIN, RST or error is waiting behind the bytes
  bool retired_ = false;
  int broken_ = 0;     // errno of a write
  bool fresh_ = true;  // no stream was ever answered on it
  bool half_open_ = false;
  bool first_read_ = true;
  uint64_t idle_since_ms_ = 0;
  uint64_t heavy_until_ms_ = 0;
  uint64_t ping_sent_ms_ = 0;
  TunnelGroup* group_ = nullptr;
  TlsSession tls_;
  std::vector<uint8_t> held_;  // records that came while TypeScript decided about the peer
  ByteQueue out_;
  H2Session h2_;
  Timer deadline_;
};

}  // namespace orlop
