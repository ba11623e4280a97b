// any thread · bodies of HTTP/1 in chunks: only lines that are all there are read.
#include "engine/http/http1_chunk.h"

#include <algorithm>
#include <cstring>

#include "engine/http/http1_head.h"

namespace orlop {
namespace {

using Refusal = Http1Refusal;

bool IsBlank(uint8_t byte) {
  return byte == ' ' || byte == '\t';
}

int HexValue(uint8_t byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  const uint8_t small = byte | 0x20;
  return small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
}

size_t EndOfToken(const uint8_t* bytes, size_t at, size_t end) {
  while (at < end && IsHttp1(bytes[at], kTokenByte)) at++;
  return at;
}

// Behind the closing quote, or `at` when there is no quoted-string (RFC 9110 section 5.6.4).
size_t EndOfQuoted(const uint8_t* bytes, size_t at, size_t end) {
  if (at == end || bytes[at] != '"') return at;
  for (size_t next = at + 1; next < end; next++) {
    if (bytes[next] == '"') return next + 1;
    if (bytes[next] == '\\') next++;
    if (next == end || !IsHttp1(bytes[next], kValueByte)) return at;
  }
  return at;
}

size_t SkipBlanks(const uint8_t* bytes, size_t at, size_t end) {
  while (at < end && IsBlank(bytes[at])) at++;
  return at;
}

// *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ), to `end` exactly.
bool AreExtensions(const uint8_t* bytes, size_t at, size_t end) {
  while (at < end) {
    at = SkipBlanks(bytes, at, end);
    if (at == end || bytes[at] != ';') return false;
    const size_t name = SkipBlanks(bytes, at + 1, end);
    at = EndOfToken(bytes, name, end);
    if (at == name) return false;
    const size_t equals = SkipBlanks(bytes, at, end);
    if (equals == end || bytes[equals] != '=') continue;
    const size_t value = SkipBlanks(bytes, equals + 1, end);
    at = std::max(EndOfToken(bytes, value, end), EndOfQuoted(bytes, value, end));
    if (at == value) return false;
  }
  return true;
}

bool IsForbiddenTrailer(const uint8_t* bytes, const Http1Field& field) {
  return field.known != Http1Name::kOther || IsProtectedName(bytes, field.name);
}

}  // namespace

Http1Refusal ReadChunkLine(const uint8_t* bytes, size_t length, Http1ChunkLine* line) {
  *line = {0, 0, 0};
  const size_t seen = std::min(length, kHttp1ChunkLineBytes);
  size_t end = 0;
  while (end < seen && bytes[end] != '\r' && bytes[end] != '\n') end++;
  if (end + 1 >= seen && (end == seen || bytes[end] == '\r')) {
    return length >= kHttp1ChunkLineBytes ? Refusal::kChunkLineTooLong : Refusal::kNone;
  }
  if (bytes[end] != '\r' || bytes[end + 1] != '\n') return Refusal::kLineEnd;
  size_t digits = 0;
  while (digits < end && HexValue(bytes[digits]) >= 0) digits++;
  if (digits == 0 || !AreExtensions(bytes, digits, end)) return Refusal::kChunkLine;
  if (digits > 16) return Refusal::kChunkSize;
  uint64_t size = 0;
  for (size_t i = 0; i < digits; i++) size = size << 4 | static_cast<uint64_t>(HexValue(bytes[i]));
  if (size > kHttp1MostLength) return Refusal::kChunkSize;
  *line = {size, static_cast<uint16_t>(end + 2), static_cast<uint16_t>(end - digits)};
  return Refusal::kNone;
}

Http1Refusal ReadChunkEnd(const uint8_t* bytes, size_t length, uint16_t* used) {
  *used = 0;
  if (length > 0 && bytes[0] != '\r') return Refusal::kChunkEnd;
  if (length < 2) return Refusal::kNone;
  if (bytes[1] != '\n') return Refusal::kChunkEnd;
  *used = 2;
  return Refusal::kNone;
}

Http1Refusal ReadTrailers(const uint8_t* bytes, size_t length, Http1TrailerSection* trailers) {
  trailers->used = trailers->field_count = 0;
  const size_t seen = std::min(length, kHttp1TrailerBytes);
  size_t at = 0;
  const Refusal refusal =
      ReadHttp1Fields(bytes, seen, &at, trailers->fields, kHttp1Trailers, &trailers->field_count);
  if (refusal == Refusal::kHeadEnd) {
    // The rest may come yet.
    trailers->field_count = 0;
    return length >= kHttp1TrailerBytes ? Refusal::kTrailersTooLarge : Refusal::kNone;
  }
  if (refusal != Refusal::kNone) return refusal;
  for (int i = 0; i < trailers->field_count; i++) {
    if (IsForbiddenTrailer(bytes, trailers->fields[i])) return Refusal::kTrailerField;
  }
  trailers->used = static_cast<uint16_t>(at);
  return Refusal::kNone;
}

}  // namespace orlop
