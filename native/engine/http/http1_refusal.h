// any thread · why a message of HTTP/1 is refused: a closed list, with the status that answers such a request.
#pragma once

#include <cstdint>

namespace orlop {

enum class Http1Refusal : uint8_t {
  kNone,
  // The lines of a head or a trailer section. The first byte that breaks the grammar names the refusal.
  kHeadTooLarge,
  kTooManyFields,
  kHeadEnd,    // the bytes end before the empty line, or go on behind it
  kLineEnd,    // a CR without LF, or an LF without CR
  kStartLine,  // no `method SP target SP version`, or no `version SP status [SP reason]`
  kVersion,    // neither HTTP/1.0 nor HTTP/1.1
  kTarget,     // a byte that no request-target has, or none of the four forms of RFC 9112 section 3.2
  kObsFold,    // a line that begins with whitespace
  kFieldName,
  kFieldValue,
  // What the lines mean, in the order in which it is judged.
  kConnect,
  kHostMissing,
  kHostTwice,
  kHost,
  kHostMismatch,       // the target names another host
  kLengthAndEncoding,  // Content-Length and Transfer-Encoding
  kEncodingVersion,    // Transfer-Encoding in HTTP/1.0
  kEncoding,           // chunked is not there, not last, or there twice
  kCoding,             // another coding before chunked
  kLengthTwice,
  kLength,
  kFramingForbidden,  // a body announced by a response of 1xx or 204
  kConnection,
  kConnectionNames,  // Connection names a field that is not its to name
  kUpgrade,
  // Bodies in chunks.
  kChunkLineTooLong,
  kChunkLine,
  kChunkSize,
  kChunkEnd,  // no CRLF behind the data
  kTrailersTooLarge,
  kTrailerField,  // a field that decides about the message itself
  // Bodies as a whole.
  kExtensionsTooLarge,  // those of all its chunk lines together
  kBodyCut,             // the connection ended before the message
  // No fault of the message's.
  kPodBudget,  // its pod has as many requests open as it may, or keeps as many bytes of heads
  // Of HTTP/2.
  kHttp2,  // what RFC 9113 forbids in a message, or on a connection
};

constexpr int kHttp1Refusals = static_cast<int>(Http1Refusal::kHttp2) + 1;

// A word for counters and logs.
const char* NameOf(Http1Refusal refusal);
// 400, 431, 501, 503 or 505 for a request, 0 for kNone. A response that is refused is answered with 502 in its place.
int StatusOf(Http1Refusal refusal);

}  // namespace orlop
