// 10, 11 · data thread · a stream of an HTTP/2 session, as the session sees its owner.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/core/events.h"
#include "engine/core/list.h"
#include "engine/core/pieces.h"

namespace orlop {

class H2Session;
struct H2ReadyTag {};
struct H2BatchTag {};

// Derive from it, and hand it to the session: H2Session::Request, or H2Handler::OnRequest. It must leave the session
// (H2Session::Forget) or be left by it (OnLost) before it is deleted, and stay in memory until the turn is over.
// The session calls most of this from inside nghttp2, where the session must not be deleted.
class H2Stream : public Hook<H2ReadyTag>, public Hook<H2BatchTag> {
 public:
  // A field of the request's or response's head. Only while `takes_fields`; others are counted and dropped.
  virtual void OnField(std::string_view name, std::string_view value) = 0;
  // The fields of a block are complete: a head, an interim response or trailers. `ends`: END_STREAM came with it, and OnEnd follows.
  virtual void OnHead(bool ends) = 0;
  // Payload, in the buffer of this read. Its window is given back by H2Session::Consumed or ConsumedKept, for each byte once.
  virtual void OnData(const uint8_t* bytes, size_t length) = 0;
  // The buffer is about to be reused: whatever OnData gave has to be taken or copied now.
  virtual void OnDataDone() = 0;
  // END_STREAM.
  virtual void OnEnd() = 0;
  // Payload for a DATA frame, after H2Session::Ready. 0: the end. -EAGAIN: nothing now. Any other negative: nothing any more, the
  // owner resets the stream outside of nghttp2.
  virtual ssize_t OnRead(const Pieces& into) = 0;
  // Both halves are over: error code 0 (NO_ERROR), or that of a RST_STREAM. REFUSED_STREAM also says that the head was never sent, or
  // that the peer's GOAWAY left the stream out: nothing was done.
  virtual void OnClosed(uint32_t code) = 0;
  // The session has ended under the stream. The stream has left it when this is called.
  virtual void OnLost(CloseCause cause, int detail, std::string_view message) = 0;

  // Null: in no session.
  H2Session* session() const { return session_; }
  // -1: never in a session.
  int32_t id() const { return id_; }

 protected:
  H2Stream() = default;
  ~H2Stream() = default;
  bool takes_fields = true;
  // Its head was answered: a RST_STREAM is then not a rapid reset (http2/budget.h).
  bool answered = false;
  // A field that HTTP forbids resets the stream. Otherwise the stream gets its other fields.
  bool refuses_bad_fields = false;
  // Behind the end of our answer a peer that still sends is asked to stop (RFC 9113 8.1): behind an answer that is a head alone, behind
  // any, or never.
  enum class Stops : uint8_t { kBehindHead, kAlways, kNever };
  Stops stops_peer = Stops::kBehindHead;
  // Of a server's stream: the frame with our END_STREAM is on its way. Before that a reset would take back what waits in front of it.
  bool end_sent() const { return end_sent_; }

 private:
  friend class H2Session;
  friend class H2Callbacks;
  H2Session* session_ = nullptr;
  int32_t id_ = -1;
  uint32_t position_ = 0;  // in the session's list
  bool turn_ = false;      // may send one frame in this round
  bool unsent_ = false;    // its head will never be sent
  bool end_sent_ = false;
  bool trailers_ = false;  // they follow its payload, and end it
  size_t decoded_bytes_ = 0;
};

}  // namespace orlop
