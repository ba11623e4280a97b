// 14 · data thread · the body of one message of HTTP/1, from the bytes that come to those that go: decoded, and framed anew.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/core/byte_queue.h"
#include "engine/http/http1_head.h"

namespace orlop {

// Chunks keep their sizes; what they carried beside their data (extensions) ends here (RFC 9112 section 7.1.1).
class Http1BodyCopy {
 public:
  void Begin(Http1Framing framing, uint64_t length);
  // Takes bytes of the body, never more than belong to it, and appends to `out` what goes on; null: nothing goes on. Returns how
  // many were taken.
  size_t Take(const uint8_t* bytes, size_t length, ByteQueue* out, Http1Refusal* refusal);
  // The sender has ended its half. False: the body is not whole.
  bool TakeEnd();
  bool done() const { return stage_ == Stage::kDone; }
  // Payload so far, without what frames it.
  uint64_t payload() const { return payload_; }
  size_t buffered() const { return held_.size(); }

 private:
  enum class Stage : uint8_t { kDone, kData, kUntilClose, kChunkLine, kChunkData, kChunkEnd, kTrailers };
  // Of the part that is read by lines: takes into `held_` until the part is there.
  size_t TakeLine(const uint8_t* bytes, size_t length, ByteQueue* out, Http1Refusal* refusal);
  // Reads the part in `held_`; how many bytes of it belong to the part, 0 while it is not whole.
  size_t ReadPart(ByteQueue* out, Http1Refusal* refusal);

  Stage stage_ = Stage::kDone;
  uint64_t left_ = 0;  // of data
  uint64_t payload_ = 0;
  size_t extensions_ = 0;
  std::string held_;  // a part that is not whole
};

}  // namespace orlop
