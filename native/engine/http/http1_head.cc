// 17 · any thread · heads of HTTP/1: first the lines, byte by byte; then what they mean, in the order of Http1Refusal.
#include "engine/http/http1_head.h"

#include <cstring>

#include "engine/http/sixteen_bytes.h"

namespace orlop {
namespace {

using Refusal = Http1Refusal;

Http1Span Between(size_t from, size_t to) {
  return {static_cast<uint16_t>(from), static_cast<uint16_t>(to - from)};
}

bool IsDigit(uint8_t byte) {
  return byte >= '0' && byte <= '9';
}

Refusal ReadVersion(const uint8_t* bytes, size_t length, size_t* at, Http1Head* head) {
  constexpr char kPattern[] = "HTTP/d.d";
  for (size_t i = 0; i < 8; i++) {
    const size_t here = *at + i;
    if (here >= length || (kPattern[i] == 'd' ? !IsDigit(bytes[here]) : bytes[here] != kPattern[i])) {
      return Misplaced(bytes, length, here, Refusal::kStartLine);
    }
  }
  const uint8_t major = bytes[*at + 5], minor = bytes[*at + 7];
  if (major != '1' || minor > '1') return Refusal::kVersion;
  head->minor = minor - '0';
  *at += 8;
  return Refusal::kNone;
}

Refusal ReadLineEnd(const uint8_t* bytes, size_t length, size_t* at) {
  if (*at + 1 < length && bytes[*at] == '\r' && bytes[*at + 1] == '\n') {
    *at += 2;
    return Refusal::kNone;
  }
  return Misplaced(bytes, length, *at, Refusal::kStartLine);
}

Refusal ReadRequestLine(const uint8_t* bytes, size_t length, size_t* at, Http1Head* head) {
  size_t next = *at;
  while (next < length && IsHttp1(bytes[next], kTokenByte)) next++;
  if (next == *at || next == length || bytes[next] != ' ') {
    return Misplaced(bytes, length, next, Refusal::kStartLine);
  }
  head->method = Between(*at, next);
  const size_t target = ++next;
  while (next < length && IsHttp1(bytes[next], kTargetByte)) next++;
  if (next == length) return Refusal::kHeadEnd;
  if (bytes[next] != ' ') {
    return Misplaced(bytes, length, next, bytes[next] == '\r' ? Refusal::kStartLine : Refusal::kTarget);
  }
  if (next == target) return Refusal::kStartLine;
  head->target = Between(target, next);
  *at = next + 1;
  const Refusal refusal = ReadVersion(bytes, length, at, head);
  return refusal == Refusal::kNone ? ReadLineEnd(bytes, length, at) : refusal;
}

Refusal ReadStatusLine(const uint8_t* bytes, size_t length, size_t* at, Http1Head* head) {
  const Refusal refusal = ReadVersion(bytes, length, at, head);
  if (refusal != Refusal::kNone) return refusal;
  size_t next = *at;
  if (next == length || bytes[next] != ' ') return Misplaced(bytes, length, next, Refusal::kStartLine);
  next++;
  head->status = 0;
  for (int i = 0; i < 3; i++, next++) {
    if (next == length || !IsDigit(bytes[next]) || (i == 0 && bytes[next] == '0')) {
      return Misplaced(bytes, length, next, Refusal::kStartLine);
    }
    head->status = static_cast<uint16_t>(head->status * 10 + (bytes[next] - '0'));
  }
  // The space behind the status belongs there even without a reason; servers that leave it out are read all the same.
  const size_t reason = next < length && bytes[next] == ' ' ? next + 1 : next;
  if (reason > next) {
    while (next < length && IsHttp1(bytes[next], kValueByte)) next++;
  }
  head->reason = Between(reason, next);
  *at = next;
  return ReadLineEnd(bytes, length, at);
}

// Sets path and, in absolute form, authority.
Refusal ReadTarget(const uint8_t* bytes, Http1Head* head) {
  constexpr size_t kScheme = 7;  // http://
  const size_t end = size_t{head->target.at} + head->target.length;
  size_t at = head->target.at;
  head->authority = {0, 0};
  if (bytes[at] == '*' && head->target.length == 1 && head->method.length == 7 &&
      memcmp(bytes + head->method.at, "OPTIONS", 7) == 0) {
    head->path = head->target;
    return Refusal::kNone;
  }
  if (bytes[at] != '/') {
    if (head->target.length < kScheme || !SameText(bytes, Between(at, at + kScheme - 2), "http:") ||
        bytes[at + kScheme - 2] != '/' || bytes[at + kScheme - 1] != '/') {
      return Refusal::kTarget;
    }
    at += kScheme;
    const size_t authority = at;
    while (at < end && bytes[at] != '/' && bytes[at] != '?') at++;
    head->authority = Between(authority, at);
    if (!IsHost(bytes, head->authority)) return Refusal::kTarget;
  }
  const void* const query = memchr(bytes + at, '?', end - at);
  head->path = Between(at, query == nullptr ? end : static_cast<const uint8_t*>(query) - bytes);
  return Refusal::kNone;
}

// The first field of a kind, and how many there are.
struct Found {
  const Http1Field* first = nullptr;
  int count = 0;

  void Add(const Http1Field& field) {
    if (count++ == 0) first = &field;
  }
};

struct Important {
  Found host, length, encoding;

  explicit Important(const Http1Head& head) {
    for (int i = 0; i < head.field_count; i++) {
      const Http1Field& field = head.fields[i];
      if (field.known == Http1Name::kHost) host.Add(field);
      if (field.known == Http1Name::kContentLength) length.Add(field);
      if (field.known == Http1Name::kTransferEncoding) encoding.Add(field);
    }
  }
};

Refusal ReadHost(const uint8_t* bytes, const Found& host, Http1Head* head) {
  if (host.count > 1) return Refusal::kHostTwice;
  if (host.count == 0) return head->minor == 0 ? Refusal::kNone : Refusal::kHostMissing;
  const Http1Span value = host.first->value;
  // A target without authority comes with an empty Host (RFC 9110 section 7.2).
  if (value.length > 0 && !IsHost(bytes, value)) return Refusal::kHost;
  if (head->authority.length == 0) {
    head->authority = value;
    return Refusal::kNone;
  }
  return SameText(bytes, head->authority, value) ? Refusal::kNone : Refusal::kHostMismatch;
}

// `chunked` alone; other codings before it are known to HTTP and not to us (RFC 9112 section 6.1: 501).
Refusal ReadEncoding(const uint8_t* bytes, Http1Span value) {
  if (SameText(bytes, value, "chunked")) return Refusal::kNone;
  Http1List list(bytes, value);
  bool chunked = false;
  for (Http1Span coding; list.Next(&coding);) {
    if (chunked || !IsToken(bytes, coding) || SameText(bytes, coding, "identity")) return Refusal::kEncoding;
    chunked = SameText(bytes, coding, "chunked");
  }
  return chunked ? Refusal::kCoding : Refusal::kEncoding;
}

bool ReadLength(const uint8_t* bytes, Http1Span value, uint64_t* number) {
  if (value.length == 0 || value.length > 16) return false;
  *number = 0;
  for (size_t i = 0; i < value.length; i++) {
    if (!IsDigit(bytes[value.at + i])) return false;
    *number = *number * 10 + (bytes[value.at + i] - '0');
  }
  return *number <= kHttp1MostLength;
}

// What the fields announce, before a response's status is looked at.
Refusal ReadFraming(const uint8_t* bytes, const Important& fields, Http1Framing otherwise, Http1Head* head) {
  head->content_length = 0;
  head->framing = otherwise;
  if (fields.encoding.count > 0) {
    if (fields.length.count > 0) return Refusal::kLengthAndEncoding;
    if (head->minor == 0) return Refusal::kEncodingVersion;
    if (fields.encoding.count > 1) return Refusal::kEncoding;
    head->framing = Http1Framing::kChunked;
    return ReadEncoding(bytes, fields.encoding.first->value);
  }
  if (fields.length.count == 0) return Refusal::kNone;
  if (fields.length.count > 1) return Refusal::kLengthTwice;
  head->framing = Http1Framing::kLength;
  return ReadLength(bytes, fields.length.first->value, &head->content_length) ? Refusal::kNone
                                                                              : Refusal::kLength;
}

void MarkNamed(const uint8_t* bytes, Http1Span option, Http1Head* head) {
  for (int i = 0; i < head->field_count; i++) {
    Http1Field& field = head->fields[i];
    if (SameText(bytes, field.name, option)) field.named_by_connection = true;
  }
}

Refusal ReadConnection(const uint8_t* bytes, Http1Head* head, bool* upgrade) {
  bool close = false, keep = false;
  int options = 0;
  for (int i = 0; i < head->field_count; i++) {
    if (head->fields[i].known != Http1Name::kConnection) continue;
    Http1List list(bytes, head->fields[i].value);
    for (Http1Span option; list.Next(&option);) {
      if (option.length == 0) continue;
      if (!IsToken(bytes, option) || ++options > kHttp1ConnectionOptions) return Refusal::kConnection;
      if (IsProtectedName(bytes, option)) return Refusal::kConnectionNames;
      close = close || SameText(bytes, option, "close");
      keep = keep || SameText(bytes, option, "keep-alive");
      *upgrade = *upgrade || SameText(bytes, option, "upgrade");
      MarkNamed(bytes, option, head);
    }
  }
  head->persistent = !close && (head->minor == 1 || keep) && head->framing != Http1Framing::kUntilClose;
  return Refusal::kNone;
}

// `asked`: Connection names Upgrade, in HTTP/1.1; else the field means nothing (RFC 9110 section 7.8).
Refusal ReadUpgrade(const uint8_t* bytes, Http1Span value, bool asked, Http1Head* head) {
  Http1List list(bytes, value);
  for (Http1Span protocol; list.Next(&protocol);) {
    if (protocol.length == 0) continue;
    const void* const slash = memchr(bytes + protocol.at, '/', protocol.length);
    const size_t end = size_t{protocol.at} + protocol.length;
    const size_t name = slash == nullptr ? end : static_cast<const uint8_t*>(slash) - bytes;
    if (!IsToken(bytes, Between(protocol.at, name))) return Refusal::kUpgrade;
    if (slash != nullptr && !IsToken(bytes, Between(name + 1, end))) return Refusal::kUpgrade;
    if (!asked) continue;
    (SameText(bytes, protocol, "websocket") ? head->upgrades_websocket : head->upgrades_other) = true;
  }
  return Refusal::kNone;
}

bool Lists(const uint8_t* bytes, Http1Span value, std::string_view lower) {
  Http1List list(bytes, value);
  for (Http1Span element; list.Next(&element);) {
    if (SameText(bytes, element, lower)) return true;
  }
  return false;
}

// What is left: connection, upgrade, expectation, trailers.
Refusal ReadManners(const uint8_t* bytes, bool request, Http1Head* head) {
  bool upgrade = false;
  const Refusal refusal = ReadConnection(bytes, head, &upgrade);
  if (refusal != Refusal::kNone) return refusal;
  head->upgrades_websocket = head->upgrades_other = head->expects_continue = head->accepts_trailers = false;
  for (int i = 0; i < head->field_count; i++) {
    const Http1Field& field = head->fields[i];
    if (field.known == Http1Name::kUpgrade) {
      const Refusal wrong = ReadUpgrade(bytes, field.value, upgrade && head->minor == 1, head);
      if (wrong != Refusal::kNone) return wrong;
    } else if (field.known == Http1Name::kExpect && request && head->minor == 1) {
      // HTTP/1.0 has no expectations (RFC 9110 section 10.1.1).
      head->expects_continue = head->expects_continue || Lists(bytes, field.value, "100-continue");
    } else if (field.known == Http1Name::kTe && request) {
      head->accepts_trailers = head->accepts_trailers || Lists(bytes, field.value, "trailers");
    }
  }
  return Refusal::kNone;
}

using ReadLine = Refusal (*)(const uint8_t*, size_t, size_t*, Http1Head*);

Refusal ReadLines(const uint8_t* bytes, size_t length, size_t at, ReadLine read_start_line, Http1Head* head) {
  Refusal refusal = read_start_line(bytes, length, &at, head);
  if (refusal != Refusal::kNone) return refusal;
  refusal = ReadHttp1Fields(bytes, length, &at, head->fields, kHttp1Fields, &head->field_count);
  if (refusal != Refusal::kNone) return refusal;
  return at == length ? Refusal::kNone : Refusal::kHeadEnd;
}

}  // namespace

bool IsHost(const uint8_t* bytes, Http1Span host) {
  size_t at = host.at;
  const size_t end = at + host.length;
  if (at < end && bytes[at] == '[') {
    const size_t inside = ++at;
    while (at < end && (IsDigit(bytes[at]) || bytes[at] == ':' || bytes[at] == '.' ||
                        ((bytes[at] | 0x20) >= 'a' && (bytes[at] | 0x20) <= 'f'))) {
      at++;
    }
    if (at - inside < 2 || at == end || bytes[at] != ']') return false;
    at++;
  } else {
    while (at < end && IsHttp1(bytes[at], kHostByte)) at++;
    if (at == host.at) return false;
  }
  if (at == end) return true;
  if (bytes[at++] != ':' || end - at > 5) return false;
  uint32_t port = 0;
  for (; at < end; at++) {
    if (!IsDigit(bytes[at])) return false;
    port = port * 10 + (bytes[at] - '0');
  }
  return port <= 65535;
}

size_t Http1HeadEnd(const uint8_t* bytes, size_t length, size_t scanned) {
  size_t at = scanned < 2 ? 0 : scanned - 2;
  // The end of a line, and behind it an empty line.
  for (; at + sizeof(SixteenBytes) + 2 <= length; at += sizeof(SixteenBytes)) {
    const SixteenBytes next = SixteenAt(bytes + at + 1);
    const auto empty = (next == '\n') | ((next == '\r') & (SixteenAt(bytes + at + 2) == '\n'));
    const size_t end = at + FirstMark((SixteenAt(bytes + at) == '\n') & empty);
    if (end < at + sizeof(SixteenBytes)) return bytes[end + 1] == '\n' ? end + 2 : end + 3;
  }
  while (at < length) {
    const void* const found = memchr(bytes + at, '\n', length - at);
    if (found == nullptr) return 0;
    at = static_cast<const uint8_t*>(found) - bytes + 1;
    if (at < length && bytes[at] == '\n') return at + 1;
    if (at + 1 < length && bytes[at] == '\r' && bytes[at + 1] == '\n') return at + 2;
  }
  return 0;
}

Http1Refusal ReadRequestHead(const uint8_t* bytes, size_t length, Http1Head* head) {
  if (length > kHttp1HeadBytes) return Refusal::kHeadTooLarge;
  const size_t start = length >= 2 && bytes[0] == '\r' && bytes[1] == '\n' ? 2 : 0;
  head->status = 0;
  head->reason = {0, 0};
  Refusal refusal = ReadLines(bytes, length, start, ReadRequestLine, head);
  if (refusal != Refusal::kNone) return refusal;
  if (head->method.length == 7 && memcmp(bytes + head->method.at, "CONNECT", 7) == 0)
    return Refusal::kConnect;
  refusal = ReadTarget(bytes, head);
  if (refusal != Refusal::kNone) return refusal;
  const Important fields(*head);
  refusal = ReadHost(bytes, fields.host, head);
  if (refusal != Refusal::kNone) return refusal;
  refusal = ReadFraming(bytes, fields, Http1Framing::kNone, head);
  if (refusal != Refusal::kNone) return refusal;
  return ReadManners(bytes, true, head);
}

Http1Refusal ReadResponseHead(const uint8_t* bytes, size_t length, bool answers_head, Http1Head* head) {
  if (length > kHttp1HeadBytes) return Refusal::kHeadTooLarge;
  head->method = head->target = head->path = head->authority = {0, 0};
  Refusal refusal = ReadLines(bytes, length, 0, ReadStatusLine, head);
  if (refusal != Refusal::kNone) return refusal;
  const Important fields(*head);
  refusal = ReadFraming(bytes, fields, Http1Framing::kUntilClose, head);
  if (refusal != Refusal::kNone) return refusal;
  // Servers send `Content-Length: 0` with 204, though RFC 9110 section 8.6 forbids it; no reader sees a body in it.
  const bool empty = head->status < 200 || head->status == 204;
  if (empty && (head->framing == Http1Framing::kChunked || head->content_length > 0)) {
    return Refusal::kFramingForbidden;
  }
  // The length of what a GET would have got, or of what the client has: no body follows (RFC 9112 section 6.3).
  if (empty || answers_head || head->status == 304) head->framing = Http1Framing::kNone;
  return ReadManners(bytes, false, head);
}

}  // namespace orlop
