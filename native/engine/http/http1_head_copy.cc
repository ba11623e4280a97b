// 14 · data thread · heads of HTTP/1, copied field by field.
#include "engine/http/http1_head_copy.h"

#include <cstring>
#include <string_view>

namespace orlop {
namespace {

void Append(ByteQueue* out, std::string_view text) {
  out->Append(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

void Append(ByteQueue* out, const uint8_t* bytes, Http1Span span) {
  out->Append(bytes + span.at, span.length);
}

bool IsAbsolute(const Http1Head& head) {
  return head.status == 0 && head.path.at != head.target.at;
}

// With its CRLF. A CRLF before it is no part of it.
void CopyStartLine(const uint8_t* bytes, const Http1Head& head, std::string_view target, ByteQueue* out) {
  if (!target.empty() || IsAbsolute(head)) {
    Append(out, bytes, head.method);
    Append(out, " ");
    if (target.empty()) {
      if (head.path.length == 0) Append(out, "/");
      const size_t end = size_t{head.target.at} + head.target.length;
      Append(out, bytes, {head.path.at, static_cast<uint16_t>(end - head.path.at)});
    } else {
      Append(out, target);
    }
    return Append(out, head.minor == 0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n");
  }
  const uint8_t* const start = bytes[0] == '\r' ? bytes + 2 : bytes;
  const auto* const end = static_cast<const uint8_t*>(memchr(start, '\n', kHttp1HeadBytes));
  out->Append(start, static_cast<size_t>(end - start) + 1);
}

}  // namespace

bool GoesOn(const Http1Head& head, const Http1Field& field) {
  switch (field.known) {
    case Http1Name::kConnection:
    case Http1Name::kHttp2Settings:
    case Http1Name::kOrlop:
    case Http1Name::kProxyConnection:
      return false;
    case Http1Name::kUpgrade:
      return head.upgrades_websocket;
    // The connection to the application is as long as the caller's, so these say the same of both.
    case Http1Name::kKeepAlive:
      return true;
    case Http1Name::kTe:
      return head.accepts_trailers;
    default:
      return !field.named_by_connection;
  }
}

namespace {

void Add(ByteQueue* out, std::string_view option, bool* first) {
  Append(out, *first ? "Connection: " : ", ");
  Append(out, option);
  *first = false;
}

void WriteConnection(const Http1Head& head, bool had_field, ByteQueue* out) {
  bool first = true;
  if (head.upgrades_websocket) Add(out, "Upgrade", &first);
  if (head.accepts_trailers) Add(out, "TE", &first);
  if (!head.persistent && head.framing != Http1Framing::kUntilClose) Add(out, "close", &first);
  if (head.persistent && had_field && !head.upgrades_websocket) Add(out, "keep-alive", &first);
  if (!first) Append(out, "\r\n");
}

}  // namespace

void CopyHead(const uint8_t* bytes, const Http1Head& head, std::string_view target, ByteQueue* out) {
  CopyStartLine(bytes, head, target, out);
  bool had_connection = false, had_host = false;
  for (int i = 0; i < head.field_count; i++) {
    const Http1Field& field = head.fields[i];
    had_connection = had_connection || field.known == Http1Name::kConnection;
    had_host = had_host || field.known == Http1Name::kHost;
    if (!GoesOn(head, field)) continue;
    if (field.known == Http1Name::kUpgrade) {
      // Of several protocols the application is offered this alone.
      Append(out, "Upgrade: websocket\r\n");
      continue;
    }
    if (field.known == Http1Name::kTe) {
      Append(out, "TE: trailers\r\n");
      continue;
    }
    Append(out, bytes, field.name);
    Append(out, ": ");
    Append(out, bytes, field.value);
    Append(out, "\r\n");
  }
  if (IsAbsolute(head) && !had_host) {
    Append(out, "Host: ");
    Append(out, bytes, head.authority);
    Append(out, "\r\n");
  }
  WriteConnection(head, had_connection, out);
  Append(out, "\r\n");
}

}  // namespace orlop
