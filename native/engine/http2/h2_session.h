// 10, 11 · data thread · one nghttp2 session and every limit on it: frames and streams. It knows no socket, no TLS, and not what
// its streams are for.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/core/list.h"
#include "engine/core/parted_room.h"
#include "engine/http2/frame_cutter.h"
#include "engine/http2/h2_handler.h"
#include "engine/http2/h2_memory.h"
#include "engine/http2/h2_options.h"
#include "engine/http2/h2_stream.h"
#include "engine/http2/toll.h"

namespace orlop {

struct H2Field {
  std::string_view name;
  std::string_view value;
};

class H2Session {
 public:
  static constexpr size_t kMostFields = 256;  // that are sent in one block
  // What follows a head: nothing, DATA, or DATA after StartData, which waits until the head is out (for a response, say).
  enum class Body : uint8_t { kNone, kNow, kLater };

  // `toll` outlives the session, and has a budget when Open is called.
  H2Session(H2Handler& handler, Toll& toll) : handler_(handler), toll_(toll) {}
  ~H2Session();
  H2Session(const H2Session&) = delete;
  H2Session& operator=(const H2Session&) = delete;

  // `options` outlives the session. False: out of memory.
  bool Open(const H2Options& options);
  // Reads until the toll stops it; *used says how far. The rest comes first in a later turn. False: the session must end; see
  // violation and error.
  bool Receive(const uint8_t* bytes, size_t length, size_t* used);
  // The same in several parts, each of which stays where it is until Deliver has made their streams take or copy all payload.
  bool Collect(const uint8_t* bytes, size_t length, size_t* used);
  void Deliver();
  // Fills the room with frames. Each ready stream may add one frame a round. False: nghttp2 failed.
  bool Produce(PartedRoom* out);
  // The session has ended, maybe inside of nghttp2: it reads nothing more.
  void Stop() { stopped_ = true; }
  // Takes each stream out of the session and calls its OnLost.
  void LoseStreams(CloseCause cause, int detail, std::string_view message);

  // Streams.
  // A client's request. False: the session takes no more streams.
  bool Request(H2Stream* stream, const H2Field* fields, size_t count, Body body);
  // An interim response of a server; none for a peer that does not read.
  void Inform(H2Stream* stream, const H2Field* fields, size_t count);
  // A server's answer. `data`: DATA follows; otherwise the stream ends with it.
  void Respond(H2Stream* stream, const H2Field* fields, size_t count, bool data);
  // Behind the payload of this stream. Called from its OnRead alone, which then returns 0.
  void Trail(H2Stream* stream, const H2Field* fields, size_t count);
  // A client's DATA begins.
  void StartData(H2Stream* stream);
  // The stream has payload or the end for a frame: OnRead will be called. Ready is for OnRead itself, Wake for everybody else.
  void Ready(H2Stream* stream);
  void Wake(H2Stream* stream);
  void Reset(H2Stream* stream, uint32_t code);
  // Payload left the engine: the peer may send as much again.
  void Consumed(H2Stream* stream, size_t length);
  // The stream keeps payload for a slow reader. The session's window is for all streams and is given back at once (up to a
  // limit), the stream's own by ConsumedKept when the payload has left the engine.
  void Kept(size_t length);
  void ConsumedKept(H2Stream* stream, size_t length);
  // The stream's owner ended first; what still comes for the stream is dropped.
  void Forget(H2Stream* stream);
  // The head of a request is on its way to the peer. False: Reset takes it back, and the peer learns nothing of it.
  bool Sent(const H2Stream* stream) const;
  // `by`, which is in no session, takes over what still comes for `stream`, which leaves.
  void Replace(H2Stream* stream, H2Stream* by);

  // The session.
  void Ping();
  // With the last stream that was taken. Streams that are open go on, whatever the code.
  void Goaway(uint32_t code);
  // After a violation: puts what is left to say into the room. It ends with a GOAWAY that has the reason's code. Nothing: the GOAWAY is
  // out already, or there is no room for it.
  void Farewell(PartedRoom* out);
  bool ping_answered() const { return !ping_open_; }
  // How many streams the peer lets us have open, at most our own limit. Until its SETTINGS have come: a single stream.
  uint32_t Limit() const;
  // The peer's SETTINGS allow no stream at all; later ones may.
  bool AllowsNone() const;
  bool settings_received() const { return settings_received_; }
  // True once after each SETTINGS of the peer.
  bool TakeNewSettings() { return std::exchange(settings_fresh_, false); }
  // Requests that the peer's new limit keeps from being sent are closed with REFUSED_STREAM.
  void RefuseUnsent();
  uint32_t streams() const { return static_cast<uint32_t>(streams_.size()); }
  bool goaway_received() const { return goaway_; }
  bool WantsNothing() const;
  // Bytes of the heap, without payload that streams keep; 0 where `memory_most` sets no bound.
  size_t memory() const { return memory_.bytes(); }
  // More frames wait for the peer than a peer that reads leaves waiting.
  bool crowded() const { return options_->memory_most > 0 && memory() > options_->memory_most; }
  // Empty: no abuse.
  std::string_view violation() const { return violation_; }
  std::string_view error() const { return error_; }

 private:
  friend class H2Callbacks;
  // The first counts. `code` is for the GOAWAY.
  void Violate(std::string_view what, uint32_t code) {
    if (!violation_.empty()) return;
    violation_ = what;
    violation_code_ = code;
  }
  void Attach(H2Stream* stream, int32_t id);
  // What both Forget and LoseStreams do.
  void Detach(H2Stream* stream);

  H2Handler& handler_;
  Toll& toll_;
  const H2Options* options_ = nullptr;
  H2Memory memory_;
  nghttp2_session* session_ = nullptr;
  bool stopped_ = false;
  bool goaway_ = false;
  uint32_t goaway_code_ = 0;  // of ours; nghttp2 sends its own when it gives the session up
  bool ping_open_ = false;
  uint8_t ping_[8] = {};  // of the last PING: who does not read what it is sent cannot answer
  bool settings_received_ = false;
  bool settings_fresh_ = false;
  std::string_view violation_;
  std::string_view error_;
  uint32_t violation_code_ = 0;
  bool farewell_sent_ = false;
  size_t kept_ = 0;  // bytes that wait in the engine for slow readers
  size_t owed_ = 0;  // of these, what the session's window has not got back
  // Of one call of Produce.
  PartedRoom* out_ = nullptr;
  uint32_t turns_ = 0;  // streams that may send in this round
  List<H2Stream, H2ReadyTag> ready_;
  List<H2Stream, H2BatchTag> batch_;  // streams with payload of this read
  std::vector<H2Stream*> streams_;    // also those that are closed but not written out
  FrameCutter cutter_;
};

}  // namespace orlop
