// any thread · bodies of HTTP/1 in chunks (RFC 9112 section 7.1): the line before a chunk, the CRLF behind it, and the trailers. Pure,
// as heads are (http1_head.h); test/http/chunk-grammar.ts is the same grammar, written for itself.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/http/http1_fields.h"
#include "engine/http/http1_refusal.h"

namespace orlop {

// A chunk line with its extensions and CRLF. The caller sums up `extensions` over the lines of a body, and bounds them.
constexpr size_t kHttp1ChunkLineBytes = 256;
constexpr size_t kHttp1TrailerBytes = 8 * 1024;
constexpr size_t kHttp1Trailers = 32;

struct Http1ChunkLine {
  uint64_t size;        // 0: the last chunk; trailers follow
  uint16_t used;        // bytes of the line, CRLF included; 0 while the line is not all there
  uint16_t extensions;  // bytes between the size and CRLF, which no reader passes on
};

// The line at the beginning of the bytes; others may follow it. An unfinished line is refused as soon as it is too long, and only then.
Http1Refusal ReadChunkLine(const uint8_t* bytes, size_t length, Http1ChunkLine* line);

// The CRLF behind a chunk's data: `*used` is 2, or 0 while it is not all there.
Http1Refusal ReadChunkEnd(const uint8_t* bytes, size_t length, uint16_t* used);

struct Http1TrailerSection {
  uint16_t used;  // bytes, the empty line included; 0 while it has not come
  uint16_t field_count;
  Http1Field fields[kHttp1Trailers];
};

// What follows the last chunk's line. Fields that decide about the message itself, or say who calls, are refused (RFC 9110 section
// 6.5.1): some origins add trailers to the head's fields.
Http1Refusal ReadTrailers(const uint8_t* bytes, size_t length, Http1TrailerSection* trailers);

}  // namespace orlop
