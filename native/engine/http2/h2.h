// 10, 11 · data thread · one nghttp2 session and every limit on it. Knows frames and streams, no socket and
// no TLS.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/core/events.h"
#include "engine/http2/budget.h"

namespace orlop {

class Connection;
class Tunnel;
struct StreamEnd;

class H2Session {
 public:
  explicit H2Session(Tunnel& tunnel) : tunnel_(tunnel) {}
  ~H2Session();
  H2Session(const H2Session&) = delete;
  H2Session& operator=(const H2Session&) = delete;

  bool Open(Role role);
  bool opened() const { return session_ != nullptr; }
  // False: the tunnel must end; see violation and error.
  bool Receive(const uint8_t* bytes, size_t length);
  // Fills scratch.plain_out, one frame per stream and round. Bytes written; negative: nghttp2 failed.
  ssize_t Produce();
  // A CONNECT. False: the session takes no more streams.
  bool Connect(Connection* connection);
  // 200 and DATA to follow, or any other status and the end.
  void Respond(StreamEnd& stream, int status, std::string_view baggage);
  void StartData(StreamEnd& stream);
  // The connection's socket has bytes or a FIN for the stream.
  void Ready(StreamEnd& stream);
  void Reset(StreamEnd& stream, uint32_t code);
  // Payload left the engine: the peer may send as much again.
  void Consumed(int32_t stream_id, size_t length);
  // The engine keeps it for a slow reader: the tunnel's window is for all streams and is given back at once
  // (up to a limit), the stream's own when the payload has left the engine.
  void Kept(size_t length);
  void ConsumedKept(int32_t stream_id, size_t length);
  // The connection ended first; what still comes for the stream is dropped.
  void Forget(StreamEnd& stream);
  void Ping();
  void Goaway(uint32_t code);
  bool ping_answered() const { return !ping_open_; }
  // How many more streams the peer lets us open, at most our own limit.
  uint32_t Room() const;
  uint32_t streams() const { return streams_; }
  bool goaway_received() const { return goaway_; }
  bool WantsNothing() const;
  // Empty: no abuse.
  std::string_view violation() const { return violation_; }
  std::string_view error() const { return error_; }
  // Whoever still has a stream here, also those that are closed but not written out.
  const std::vector<Connection*>& connections() const { return connections_; }

 private:
  friend struct H2Callbacks;
  void Violate(std::string_view what) {
    if (violation_.empty()) violation_ = what;
  }
  void Attach(Connection* connection, int32_t id);
  void Unqueue(StreamEnd& stream);
  void FlushBatch();
  Tunnel& tunnel_;
  nghttp2_session* session_ = nullptr;
  Role role_ = Role::kServer;
  uint32_t streams_ = 0;
  bool goaway_ = false;
  bool ping_open_ = false;
  std::string_view violation_;
  std::string_view error_;
  size_t plain_length_ = 0;
  size_t stray_header_bytes_ = 0;
  size_t kept_ = 0;     // bytes that wait in the engine for slow readers
  size_t owed_ = 0;     // of these, what the tunnel's window has not got back
  uint32_t turns_ = 0;  // streams that may send in this round
  StreamEnd* ready_first_ = nullptr;
  StreamEnd* ready_last_ = nullptr;
  StreamEnd* batch_first_ = nullptr;  // streams with pieces of this read
  std::vector<Connection*> connections_;
  Budget budget_;
};

}  // namespace orlop
