// any thread · field lines of HTTP/1: one pass over the bytes, the first that breaks the grammar ends it.
#include "engine/http/http1_fields.h"

#include <cstring>

#include "engine/http/sixteen_bytes.h"

namespace orlop {
namespace {

constexpr uint8_t ClassesOf(int byte) {
  const bool visible = byte > 0x20 && byte < 0x7f;
  const bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
  const bool digit = byte >= '0' && byte <= '9';
  bool token = letter || digit;
  for (const char mark : std::string_view("!#$%&'*+-.^_`|~")) token = token || byte == mark;
  bool host = letter || digit;
  for (const char mark : std::string_view("-._~")) host = host || byte == mark;
  return static_cast<uint8_t>(
      (token ? kTokenByte : 0) | (byte == '\t' || byte == ' ' || visible || byte > 0x7f ? kValueByte : 0) |
      (visible && byte != '#' && byte != '\\' ? kTargetByte : 0) | (host ? kHostByte : 0));
}

#define ORLOP_4(n) ClassesOf(n), ClassesOf(n + 1), ClassesOf(n + 2), ClassesOf(n + 3)
#define ORLOP_16(n) ORLOP_4(n), ORLOP_4(n + 4), ORLOP_4(n + 8), ORLOP_4(n + 12)
#define ORLOP_64(n) ORLOP_16(n), ORLOP_16(n + 16), ORLOP_16(n + 32), ORLOP_16(n + 48)

uint8_t Lower(uint8_t byte) {
  return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

bool IsSpace(uint8_t byte) {
  return byte == ' ' || byte == '\t';
}

bool HasPrefix(const uint8_t* bytes, Http1Span name, std::string_view lower) {
  return name.length >= lower.size() &&
         SameText(bytes, {name.at, static_cast<uint16_t>(lower.size())}, lower);
}

bool IsOrlops(const uint8_t* bytes, Http1Span name) {
  if (name.length < 8 || (bytes[name.at] | 0x20) != 'x') return false;
  const uint8_t* const text = bytes + name.at;
  return IsSign(text[1]) && IsSign(text[7]) &&
         SameText(bytes, {static_cast<uint16_t>(name.at + 2), 5}, "orlop");
}

// The first byte from `at` on that no token has. Most names are letters and hyphens.
size_t EndOfName(const uint8_t* bytes, size_t length, size_t at) {
  while (at + sizeof(SixteenBytes) <= length) {
    const SixteenBytes word = SixteenAt(bytes + at);
    const SixteenBytes letter = (word | 0x20) - 'a';
    const size_t first = FirstMark((letter >= 26) & (word != '-'));
    at += first;
    if (first < sizeof(SixteenBytes)) break;
  }
  while (at < length && IsHttp1(bytes[at], kTokenByte)) at++;
  return at;
}

// The first byte from `at` on that no value has. Most bytes are visible, or above ASCII.
size_t EndOfValue(const uint8_t* bytes, size_t length, size_t at) {
  while (at + sizeof(SixteenBytes) <= length) {
    const SixteenBytes word = SixteenAt(bytes + at);
    const size_t first = FirstMark((word < 0x20) | (word == 0x7f));
    at += first;
    if (first == sizeof(SixteenBytes)) continue;
    if (bytes[at] != '\t') return at;
    at++;
  }
  while (at < length && IsHttp1(bytes[at], kValueByte)) at++;
  return at;
}

}  // namespace

const uint8_t kHttp1Classes[256] = {ORLOP_64(0), ORLOP_64(64), ORLOP_64(128), ORLOP_64(192)};

bool SameText(const uint8_t* bytes, Http1Span span, std::string_view lower) {
  if (span.length != lower.size()) return false;
  for (size_t i = 0; i < lower.size(); i++) {
    if (Lower(bytes[span.at + i]) != static_cast<uint8_t>(lower[i])) return false;
  }
  return true;
}

bool SameText(const uint8_t* bytes, Http1Span a, Http1Span b) {
  if (a.length != b.length) return false;
  for (size_t i = 0; i < a.length; i++) {
    if (Lower(bytes[a.at + i]) != Lower(bytes[b.at + i])) return false;
  }
  return true;
}

Http1Name KnownHttp1Name(const uint8_t* bytes, Http1Span name) {
  const auto is = [&](std::string_view lower) { return SameText(bytes, name, lower); };
  switch (name.length) {
    case 2:
      if (is("te")) return Http1Name::kTe;
      break;
    case 4:
      if (is("host")) return Http1Name::kHost;
      break;
    case 6:
      if (is("expect")) return Http1Name::kExpect;
      break;
    case 7:
      if (is("upgrade")) return Http1Name::kUpgrade;
      if (is("trailer")) return Http1Name::kTrailer;
      break;
    case 10:
      if (is("connection")) return Http1Name::kConnection;
      if (is("keep-alive")) return Http1Name::kKeepAlive;
      break;
    case 14:
      if (is("content-length")) return Http1Name::kContentLength;
      if (is("http2-settings")) return Http1Name::kHttp2Settings;
      break;
    case 16:
      if (is("proxy-connection")) return Http1Name::kProxyConnection;
      break;
    case 17:
      if (is("transfer-encoding")) return Http1Name::kTransferEncoding;
      break;
    default:
      break;
  }
  return IsOrlops(bytes, name) ? Http1Name::kOrlop : Http1Name::kOther;
}

bool IsToken(const uint8_t* bytes, Http1Span span) {
  for (size_t i = 0; i < span.length; i++) {
    if (!IsHttp1(bytes[span.at + i], kTokenByte)) return false;
  }
  return span.length > 0;
}

bool IsProtectedName(const uint8_t* bytes, Http1Span name) {
  static constexpr std::string_view kWhole[] = {
      "host",      "content-length", "transfer-encoding", "authorization", "cookie",
      "forwarded", "x-real-ip",      "baggage",           "traceparent",   "tracestate"};
  for (const std::string_view whole : kWhole) {
    if (SameText(bytes, name, whole)) return true;
  }
  return HasPrefix(bytes, name, "x-forwarded-") || HasPrefix(bytes, name, "x-envoy-") ||
         IsOrlops(bytes, name);
}

Http1Refusal Misplaced(const uint8_t* bytes, size_t length, size_t at, Http1Refusal otherwise) {
  if (at >= length) return Http1Refusal::kHeadEnd;
  if (bytes[at] == '\n') return Http1Refusal::kLineEnd;
  if (bytes[at] == '\r') {
    if (at + 1 == length) return Http1Refusal::kHeadEnd;
    if (bytes[at + 1] != '\n') return Http1Refusal::kLineEnd;
  }
  return otherwise;
}

Http1Refusal ReadHttp1Fields(const uint8_t* bytes, size_t length, size_t* at, Http1Field* fields, size_t most,
                             uint16_t* count) {
  size_t next = *at;
  *count = 0;
  for (;;) {
    if (next + 1 < length && bytes[next] == '\r' && bytes[next + 1] == '\n') {
      *at = next + 2;
      return Http1Refusal::kNone;
    }
    if (next < length && IsSpace(bytes[next])) return Http1Refusal::kObsFold;
    if (*count == most) return Misplaced(bytes, length, next, Http1Refusal::kTooManyFields);

    Http1Field& field = fields[*count];
    const size_t name = next;
    next = EndOfName(bytes, length, next);
    if (next == name || next == length || bytes[next] != ':') {
      return Misplaced(bytes, length, next, Http1Refusal::kFieldName);
    }
    field.name = {static_cast<uint16_t>(name), static_cast<uint16_t>(next - name)};
    next++;
    while (next < length && IsSpace(bytes[next])) next++;
    const size_t value = next;
    next = EndOfValue(bytes, length, next);
    if (next + 1 >= length || bytes[next] != '\r' || bytes[next + 1] != '\n') {
      return Misplaced(bytes, length, next, Http1Refusal::kFieldValue);
    }
    size_t end = next;
    while (end > value && IsSpace(bytes[end - 1])) end--;
    field.value = {static_cast<uint16_t>(value), static_cast<uint16_t>(end - value)};
    field.known = KnownHttp1Name(bytes, field.name);
    field.named_by_connection = false;
    ++*count;
    next += 2;
  }
}

bool Http1List::Next(Http1Span* element) {
  if (!more) return false;
  size_t from = at;
  while (at < end && bytes[at] != ',') at++;
  size_t to = at;
  more = at < end;
  at++;
  while (from < to && IsSpace(bytes[from])) from++;
  while (to > from && IsSpace(bytes[to - 1])) to--;
  *element = {static_cast<uint16_t>(from), static_cast<uint16_t>(to - from)};
  return true;
}

}  // namespace orlop
