// 16 · data thread · the body of one message of HTTP/1, from the bytes that come to those that go: decoded, and framed anew.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/core/byte_queue.h"
#include "engine/http/http1_body.h"

namespace orlop {

// Chunks are written as the data comes; what they carried beside it (extensions) ends here (RFC 9112 section 7.1.1).
class Http1BodyCopy {
 public:
  void Begin(const Http1Head& head);
  // Takes bytes of the body, never more than belong to it, and appends to `out` what goes on; null: nothing goes on. Returns how
  // many were taken.
  size_t Take(const uint8_t* bytes, size_t length, ByteQueue* out, Http1Refusal* refusal);
  // The sender has ended its half. False: the body is not whole.
  bool TakeEnd() { return body_.Close() == Http1Refusal::kNone; }
  bool done() const { return body_.ended(); }
  // Payload so far, without what frames it.
  uint64_t payload() const { return payload_; }
  size_t buffered() const { return held_.size(); }

 private:
  // The same where nothing waits from before.
  size_t Read(const uint8_t* bytes, size_t length, ByteQueue* out, Http1Refusal* refusal);

  Http1Body body_;
  bool chunked_ = false;
  uint64_t payload_ = 0;
  std::string held_;  // a line or trailer section that is not whole: at most kHttp1BodyUnused
};

}  // namespace orlop
