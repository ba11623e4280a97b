// 14 · any thread · the first bytes of a connection: HTTP/1, HTTP/2, or neither. Pure.
#pragma once

#include <cstddef>
#include <cstdint>

namespace orlop {

enum class Http1Start : uint8_t { kUnclear, kHttp1, kHttp2, kOther };

// Whether a request line of HTTP/1 begins here: token, space, anything visible, space, `HTTP/1.`. A line that is longer than any
// sensible target without having been anything else counts as HTTP/1: the reader of heads refuses it with an answer.
Http1Start Http1StartOf(const uint8_t* bytes, size_t length);

// Whether these are, as far as they go, the first bytes of a server of HTTP/2: a frame SETTINGS (RFC 9113 sections 3.4, 6.5).
bool IsHttp2Settings(const uint8_t* bytes, size_t length);

}  // namespace orlop
