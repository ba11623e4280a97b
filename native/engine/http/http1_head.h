// any thread · heads of HTTP/1 requests and responses: a complete head → offsets of its parts, and what they say about the message;
// or a refusal. Pure: nothing is allocated, no pointer is kept, no state outlives a call. test/http/grammar.ts is the same grammar,
// written for itself; test/http/property.test.ts holds the two together.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/http/http1_fields.h"
#include "engine/http/http1_refusal.h"

namespace orlop {

// Envoy's defaults of `max_request_headers_kb` and `max_headers_count`.
constexpr size_t kHttp1HeadBytes = 60 * 1024;
constexpr size_t kHttp1Fields = 100;
// Options of all Connection fields together: each is compared with every field's name.
constexpr int kHttp1ConnectionOptions = 16;
// The largest number that JavaScript has exactly.
constexpr uint64_t kHttp1MostLength = (uint64_t{1} << 53) - 1;

enum class Http1Framing : uint8_t {
  kNone,        // no body
  kLength,      // content_length bytes, which may be 0
  kChunked,     // http1_chunk.h
  kUntilClose,  // responses only
};

struct Http1Head {
  // A request: authority is that of an absolute target, else Host's value, else empty. The path goes to the query's `?` or to the
  // target's end; it is empty in an absolute target without a path, and `*` in `OPTIONS *`.
  Http1Span method, target, path, authority;
  uint16_t status;   // of a response
  Http1Span reason;  // of a response; may be empty
  uint8_t minor;     // HTTP/1.minor
  Http1Framing framing;
  uint64_t content_length;
  bool persistent;          // another message may follow on this connection (RFC 9112 section 9.3)
  bool expects_continue;    // Expect: 100-continue
  bool accepts_trailers;    // TE: trailers
  bool upgrades_websocket;  // Upgrade has websocket, and Connection names Upgrade
  bool upgrades_other;      // the same for any other protocol, h2c first of all
  uint16_t field_count;
  Http1Field fields[kHttp1Fields];
};

// The number of bytes up to and including the first empty line, 0 while it has not come. The first `scanned` bytes were looked at
// by a call before. Lines that end with LF alone end a head here, too: the functions below refuse it.
size_t Http1HeadEnd(const uint8_t* bytes, size_t length, size_t scanned);

// Whether it is uri-host [ ":" port ] of RFC 3986 section 3.2, without userinfo, escapes and sub-delims.
bool IsHost(const uint8_t* bytes, Http1Span host);

// `length` bytes are one head, its empty line included. A CRLF before the request line is skipped (RFC 9112 section 2.2). With a
// refusal, `head` holds nothing.
Http1Refusal ReadRequestHead(const uint8_t* bytes, size_t length, Http1Head* head);
// `answers_head`: the request's method was HEAD.
Http1Refusal ReadResponseHead(const uint8_t* bytes, size_t length, bool answers_head, Http1Head* head);

}  // namespace orlop
