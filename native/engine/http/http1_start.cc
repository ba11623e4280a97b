// 14 · any thread · what protocol a connection begins with.
#include "engine/http/http1_start.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "engine/http/http1_fields.h"

namespace orlop {
namespace {

constexpr size_t kMethodBytes = 32;
constexpr size_t kLineBytes = 8 * 1024;
// RFC 9113 section 3.4.
constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n";
constexpr std::string_view kVersion = "HTTP/1.";

// How much of `expected` is there; false: something else is.
bool Begins(const uint8_t* bytes, size_t length, std::string_view expected, bool* whole) {
  const size_t seen = std::min(length, expected.size());
  *whole = seen == expected.size();
  return memcmp(bytes, expected.data(), seen) == 0;
}

}  // namespace

Http1Start Http1StartOf(const uint8_t* bytes, size_t length) {
  size_t at = 0;
  // RFC 9112 section 2.2 lets a server skip it.
  if (length > 0 && bytes[0] == '\r') {
    if (length < 2) return Http1Start::kUnclear;
    if (bytes[1] != '\n') return Http1Start::kOther;
    at = 2;
  }
  bool whole = false;
  if (Begins(bytes + at, length - at, kPreface, &whole))
    return whole ? Http1Start::kHttp2 : Http1Start::kUnclear;
  const size_t method = at;
  while (at < length && IsHttp1(bytes[at], kTokenByte)) {
    if (++at - method > kMethodBytes) return Http1Start::kOther;
  }
  if (at == length) return Http1Start::kUnclear;
  if (at == method || bytes[at] != ' ') return Http1Start::kOther;
  at++;
  while (at < length && bytes[at] > ' ' && bytes[at] != 0x7f) {
    if (++at > kLineBytes) return Http1Start::kHttp1;
  }
  if (at == length) return Http1Start::kUnclear;
  if (bytes[at] != ' ') return Http1Start::kOther;
  at++;
  if (!Begins(bytes + at, length - at, kVersion, &whole)) return Http1Start::kOther;
  return whole ? Http1Start::kHttp1 : Http1Start::kUnclear;
}

bool IsHttp2Settings(const uint8_t* bytes, size_t length) {
  // Six bytes for each setting, and no server has hundreds of them; type 4; no flags; stream 0.
  constexpr size_t kHead = 9;
  constexpr uint8_t kMost[kHead] = {0, 4, 255, 4, 0, 0, 0, 0, 0};
  const size_t seen = std::min(length, kHead);
  for (size_t at = 0; at < seen; at++) {
    const bool is_length = at == 1 || at == 2;
    if (bytes[at] > kMost[at] || (!is_length && bytes[at] != kMost[at])) return false;
  }
  return seen < 3 || (bytes[1] * 256 + bytes[2]) % 6 == 0;
}

}  // namespace orlop
