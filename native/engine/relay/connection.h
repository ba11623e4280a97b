// 6, 13, 14 · data thread · one connection from accept or CONNECT to its one `closed` event: its phases, its
// two sides.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/core/arena.h"
#include "engine/core/buffers.h"
#include "engine/core/descriptor.h"
#include "engine/core/endpoint.h"
#include "engine/core/events.h"
#include "engine/core/loop.h"
#include "engine/core/slots.h"
#include "engine/core/timers.h"
#include "engine/relay/dialer.h"

namespace orlop {

class Connection;
class Engine;
class Tunnel;

// A plain socket of a connection.
class SocketEnd final : public Pollable {
 public:
  SocketEnd(ChunkPool& pool, Connection& connection) : out(pool), connection_(connection) {}
  void OnReady(uint32_t events) override;
  Descriptor fd;
  bool readable = false;
  bool writable = false;
  bool hup = false;    // FIN, RST or error is waiting behind the bytes: read until it shows
  bool error = false;  // of these, the last two
  bool eof = false;    // the peer's FIN was read
  bool shut = false;   // our FIN was sent
  ByteQueue out;       // what the socket did not take yet

 private:
  Connection& connection_;
};

// The HTTP/2 stream of a connection, on whichever side it has one.
struct StreamEnd {
  Tunnel* tunnel = nullptr;
  int32_t id = -1;
  bool data_started = false;  // our half carries DATA
  bool turn = false;          // may send one frame in this round
  bool queued = false;        // stands in the tunnel's ring
  bool ended = false;         // the peer's END_STREAM was read
  bool in_batch = false;      // has pieces of the tunnel's read buffer
  int piece_count = 0;
  iovec pieces[8];            // received payload, still in the turn's buffer
  StreamEnd* next = nullptr;  // in the ring
  StreamEnd* next_in_batch = nullptr;
  Connection* connection = nullptr;
  uint32_t position = 0;  // in the session's list
};

// What the peer's or our HEADERS say; freed once the connection stands.
struct ConnectText {
  std::string method, authority, baggage, forwarded, traceparent;
  bool forbidden = false;  // :scheme, :path or :protocol were there
  size_t decoded_bytes = 0;
  int status = 0;
  // An outbound connection's tunnel.
  Endpoint to;
  int32_t identity = -1;
  int32_t expect = -1;
  bool retried = false;
};

class Connection final : public SocketWaiter {
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

  Connection(Engine& engine, uint32_t pod_idx, const Endpoint& peer);
  virtual ~Connection();

  // --- from acceptor and hbone_server: a new one -------------------------------------------
  bool TakeAccepted(Descriptor fd);
  void Report(const orlop_engine_event& event, std::string_view authority = {});

  // --- from the engine: what TypeScript decided --------------------------------------------
  void OnRelay(const Endpoint& to);
  void OnDial(uint32_t pod_idx, const Endpoint& to, const Endpoint* from, std::string_view baggage);
  void OnTunnel(std::unique_ptr<ConnectText> text);
  void OnRefuse(int status);

  // --- from the tunnel ----------------------------------------------------------------------
  void OnTunnelReady(Tunnel* tunnel);
  void OnTunnelFailed(CloseCause cause, int detail, std::string_view message);
  void OnResponse();
  // Application bytes for a DATA frame, read straight into it. 0: FIN. Negative: -errno, -EAGAIN when there
  // are none.
  ssize_t ReadForStream(uint8_t* into, size_t capacity);
  // After a frame: another one, when the socket may have more.
  void QueueIfReadable();
  void OnStreamData(const uint8_t* bytes, size_t length);
  void FlushStreamData();
  void OnStreamEnd();
  void OnStreamClosed(uint32_t code);
  void OnTunnelLost(CloseCause cause, int detail, std::string_view message);

  // --- from sockets and timers ---------------------------------------------------------------
  void OnSocket(Descriptor fd) override;
  void OnSocketReady(SocketEnd& end, uint32_t events);
  void OnAgain() { Pump(); }

  // Ends it, whatever its phase: FIN on what is open when `finished`, RST otherwise. Once; later calls do
  // nothing.
  void Finish(CloseCause cause, int detail = 0, std::string_view message = {});

  Phase phase() const { return phase_; }
  uint32_t pod_idx() const { return pod_idx_; }
  SlotRef ref() const { return ref_; }
  uint64_t sent() const { return sent_; }
  uint64_t received() const { return received_; }
  // The socket that carries a side; -1: there is none now.
  int SocketOf(bool upstream) const;
  size_t buffered() const { return down_.out.size() + up_.out.size(); }
  const Endpoint& peer() const { return peer_; }
  bool server_stream() const { return server_stream_; }
  // The stream is the downstream side: a CONNECT that arrived.
  void BecomeServerStream() { server_stream_ = true; }

  StreamEnd stream;
  std::unique_ptr<ConnectText> text;
  Connection* next_waiting = nullptr;  // in a tunnel group's queue
  bool in_again = false;               // stands in the engine's list for the next turn

 private:
  void Deadline(uint64_t after_ms);
  void OnDeadline();
  void Dial(uint32_t pod_idx, const Endpoint& to, const Endpoint* from);
  void OnConnected();
  void Established(std::string_view baggage);
  bool Adopt(SocketEnd& end, Descriptor fd);
  void Drop(SocketEnd& end, bool reset);
  // 14: relay.cc
  void Pump();
  void PumpStream();
  bool Move(SocketEnd& from, SocketEnd& to, uint64_t& counter);
  bool WriteOut(SocketEnd& end, uint64_t& counter);
  // Payload of a stream; tells the tunnel when it is a heavy one.
  void CountMoved(uint64_t& counter, size_t bytes);
  void ShutIfDrained(SocketEnd& end);
  void FinishIfDone();
  void ResetBy(const SocketEnd& end, int error);
  SocketEnd& app() { return server_stream_ ? up_ : down_; }

  Engine& engine_;
  uint32_t pod_idx_;
  Endpoint peer_;
  SlotRef ref_;
  bool reported_ = false;
  bool server_stream_ = false;
  bool has_source_ = false;
  bool stream_closed_ = false;  // both halves are over, and no DATA will come
  int broken_ = 0;              // errno that reading for the stream met, to be dealt with outside nghttp2
  Phase phase_ = Phase::kHeaders;
  SocketEnd down_;
  SocketEnd up_;
  Endpoint target_;
  Endpoint source_;
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
  uint64_t weighed_bytes_ = 0;  // sent and received together when last weighed
  uint64_t weighed_ms_ = 0;
  uint64_t started_us_;
  uint64_t answered_us_ = 0;
  Timer deadline_;
};

}  // namespace orlop
