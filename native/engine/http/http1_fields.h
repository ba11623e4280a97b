// any thread · field lines of HTTP/1, in a head or behind a body of chunks: bytes → offsets. Pure: nothing is allocated, no pointer
// is kept, and the bytes are all there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/http/http1_refusal.h"

namespace orlop {

// Offsets from the first byte that was given; two bytes are enough for the largest head (http1_head.h).
struct Http1Span {
  uint16_t at, length;
};

// Fields that have a part in framing, in the connection or in what Orlop itself writes.
enum class Http1Name : uint8_t {
  kOther,
  kConnection,
  kContentLength,
  kExpect,
  kHost,
  kHttp2Settings,
  kKeepAlive,
  kProxyConnection,
  kTe,
  kTrailer,
  kTransferEncoding,
  kUpgrade,
  kOrlop,  // x-orlop-*, also with other signs for `-` (IsSign)
};

struct Http1Field {
  Http1Span name, value;  // the value without the whitespace around it
  Http1Name known;
  bool named_by_connection;  // an intermediary takes it out (RFC 9110 section 7.6.1)
};

// What a byte may be part of.
enum Http1Class : uint8_t {
  kTokenByte = 1,  // RFC 9110 section 5.6.2
  kValueByte = 2,  // RFC 9110 section 5.5, obs-text included
  kTargetByte =
      4,  // visible ASCII but `#` and `\`: neither is part of a URI's path or query (RFC 3986 section 3)
  kHostByte = 8,  // unreserved of RFC 3986; escapes and sub-delims are never part of a host that DNS knows
};
extern const uint8_t kHttp1Classes[256];

inline bool IsHttp1(uint8_t byte, Http1Class what) {
  return (kHttp1Classes[byte] & what) != 0;
}

// Of a token: no letter and no digit. CGI, WSGI and Rack read all signs of a name alike, so names that differ in them alone are the same name
// wherever a caller must not choose (agent/mesh/alike-names.ts, for rules).
inline bool IsSign(uint8_t byte) {
  const uint8_t small = byte | 0x20;
  return !(small >= 'a' && small <= 'z') && !(byte >= '0' && byte <= '9');
}

// True if the bytes are `lower`, ASCII letters of either case. `lower` is made of small letters, digits, `-` and `/`.
bool SameText(const uint8_t* bytes, Http1Span span, std::string_view lower);
// The same for two texts, both of either case.
bool SameText(const uint8_t* bytes, Http1Span a, Http1Span b);
bool IsToken(const uint8_t* bytes, Http1Span span);
Http1Name KnownHttp1Name(const uint8_t* bytes, Http1Span name);
// Host, framing, identity and who the caller is: no other field may take these out, and no trailer may bring them.
bool IsProtectedName(const uint8_t* bytes, Http1Span name);

// The refusal for a byte that cannot be here, or for the end of the bytes.
Http1Refusal Misplaced(const uint8_t* bytes, size_t length, size_t at, Http1Refusal otherwise);

// Reads lines from `*at` up to and including the empty line, and moves `*at` behind it. At most `most` fields.
Http1Refusal ReadHttp1Fields(const uint8_t* bytes, size_t length, size_t* at, Http1Field* fields, size_t most,
                             uint16_t* count);

// The elements of a list (RFC 9110 section 5.6.1) without whitespace around them. Empty elements come as such.
struct Http1List {
  const uint8_t* bytes;
  size_t at, end;
  bool more = true;

  Http1List(const uint8_t* all, Http1Span value)
      : bytes(all), at(value.at), end(size_t{value.at} + value.length) {}
  // False behind the last element.
  bool Next(Http1Span* element);
};

}  // namespace orlop
