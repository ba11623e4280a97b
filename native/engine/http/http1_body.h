// any thread · the body of one message of HTTP/1 as it comes, in pieces of any size: which bytes are payload, and where the message
// ends. Pure, and without memory of its own: bytes that were not used come again, with more behind them.
// test/http/body-grammar.ts finds the same ends in its own way.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/http/http1_chunk.h"
#include "engine/http/http1_head.h"
#include "engine/http/http1_refusal.h"

namespace orlop {

// Bytes of extensions in all chunk lines of a body together. No reader passes them on, so many of them are nothing but load.
constexpr size_t kHttp1ExtensionBytes = 16 * 1024;
// The most that Read may leave unused: no line and no trailer section is longer. Who keeps so many bytes never waits for ever.
constexpr size_t kHttp1BodyUnused = kHttp1TrailerBytes;

// What comes behind a response's head.
enum class Http1Follows : uint8_t {
  kBody,      // its body, which may be empty; then the response to the next request
  kResponse,  // another head for the same request (1xx, RFC 9110 section 15.2)
  kOpaque,    // no HTTP any more: 101, and 2xx to CONNECT (RFC 9110 sections 15.2.2 and 9.3.6)
};

// `answers_connect`: the request's method was CONNECT.
Http1Follows FollowsResponse(const Http1Head& head, bool answers_connect);

enum class Http1BodyEvent : uint8_t {
  kWait,     // what was not used is too little to go on
  kPayload,  // the bytes from `at` to `used`
  kEnd,      // `used` is the first byte behind the message; chunked, its trailer section begins at `at`
  kRefused,
};

struct Http1BodyStep {
  Http1BodyEvent event;
  Http1Refusal refusal;  // of kRefused
  size_t at, used;       // offsets in the bytes of this call
};

class Http1Body {
 public:
  // A body that has ended.
  Http1Body() = default;
  // Of the message with this head.
  explicit Http1Body(const Http1Head& head);

  // Goes on to the next event. The bytes are those behind what was used before. With kEnd, `trailers` has the trailers, their
  // offsets counted from `at`; with another event its content is undefined. After kEnd and kRefused, each call says the same again
  // and uses nothing.
  Http1BodyStep Read(const uint8_t* bytes, size_t length, Http1TrailerSection* trailers);

  // The connection has ended behind what was given to Read, which last said kWait. kNone where the message ends so, or had ended
  // before; else the message is cut short (RFC 9112 section 8).
  Http1Refusal Close();

  bool ended() const { return state_ == State::kEnd; }
  // The last chunk has come; its trailers have not, or were refused.
  bool awaits_trailers() const { return last_chunk_; }

 private:
  enum class State : uint8_t { kEnd, kRefused, kLength, kUntilClose, kLine, kData, kDataEnd, kTrailers };

  Http1BodyStep Wait(size_t used) const { return {Http1BodyEvent::kWait, Http1Refusal::kNone, used, used}; }
  Http1BodyStep Refuse(Http1Refusal refusal, size_t used);
  Http1BodyStep ReadPayload(size_t length, size_t used);
  Http1BodyStep ReadSection(const uint8_t* bytes, size_t length, size_t used, Http1TrailerSection* trailers);
  // Both move `*used` on; false when the rest has not come, or is refused.
  bool ReadLine(const uint8_t* bytes, size_t length, size_t* used, Http1Refusal* refusal);
  bool ReadDataEnd(const uint8_t* bytes, size_t length, size_t* used, Http1Refusal* refusal);

  uint64_t left_ = 0;        // of the body, or of the chunk
  uint32_t extensions_ = 0;  // bytes of all chunk lines
  uint16_t scanned_ = 0;     // bytes of the trailer section that have no end in them
  State state_ = State::kEnd;
  bool last_chunk_ = false;
  Http1Refusal refusal_ = Http1Refusal::kNone;
};

}  // namespace orlop
