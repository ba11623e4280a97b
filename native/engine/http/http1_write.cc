// any thread · writing HTTP/1: only what was read and checked, and what is checked here, goes out.
#include "engine/http/http1_write.h"

#include <cstring>

namespace orlop {
namespace {

// Whether the field's line was read exactly as it would be written: a single space behind the colon, none behind the value. The line has a colon
// and a CRLF, or it would not have been read.
bool IsAsWritten(const uint8_t* bytes, const Http1Field& field) {
  return field.value.at == field.name.at + field.name.length + 2 && bytes[field.value.at - 1] == ' ' &&
         bytes[field.value.at + field.value.length] == '\r';
}

class Writer {
 public:
  Writer(uint8_t* to, size_t room) : to_(to), room_(room) {}

  void Bytes(const void* bytes, size_t length) {
    if (length > room_ - used_) {
      full_ = true;
    } else if (length > 0) {
      memcpy(to_ + used_, bytes, length);
      used_ += length;
    }
  }
  void Text(std::string_view text) { Bytes(text.data(), text.size()); }
  void Span(const uint8_t* bytes, Http1Span span) { Bytes(bytes + span.at, span.length); }
  void Line(std::string_view name, std::string_view value) {
    Text(name);
    Text(": ");
    Text(value);
    Text("\r\n");
  }
  void Field(const uint8_t* bytes, const Http1Field& field) {
    Span(bytes, field.name);
    Text(": ");
    Span(bytes, field.value);
    Text("\r\n");
  }
  // Of `fields` those that `stays` takes. Lines that are as they would be written, and lie behind each other, are copied together.
  template <typename Stays>
  void Fields(const uint8_t* bytes, const Http1Field* fields, size_t count, Stays stays) {
    size_t from = 0, end = 0;
    for (size_t i = 0; i < count; i++) {
      const Http1Field& field = fields[i];
      if (!stays(field)) continue;
      const bool as_written = IsAsWritten(bytes, field);
      if (!as_written || field.name.at != end) {
        Bytes(bytes + from, end - from);
        from = end = field.name.at;
      }
      if (as_written) {
        // With the CRLF behind it.
        end = size_t{field.value.at} + field.value.length + 2;
      } else {
        Field(bytes, field);
      }
    }
    Bytes(bytes + from, end - from);
  }
  void Number(uint64_t number) {
    char digits[20];
    size_t at = sizeof digits;
    do {
      digits[--at] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number > 0);
    Bytes(digits + at, sizeof digits - at);
  }
  // 0 when the room was too small.
  size_t used() const { return full_ ? 0 : used_; }

 private:
  uint8_t* to_;
  size_t room_;
  size_t used_ = 0;
  bool full_ = false;
};

const uint8_t* BytesOf(std::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

bool SameName(const uint8_t* bytes, Http1Span name, std::string_view other) {
  if (name.length != other.size()) return false;
  for (size_t i = 0; i < other.size(); i++) {
    const uint8_t ours = bytes[name.at + i], theirs = BytesOf(other)[i];
    const bool letter = (ours | 0x20) >= 'a' && (ours | 0x20) <= 'z';
    if (ours != theirs && (!letter || (ours ^ theirs) != 0x20)) return false;
  }
  return true;
}

// Each sign counts as `-`: CGI and WSGI read them alike.
bool IsEnvoys(const uint8_t* bytes, Http1Span name) {
  constexpr std::string_view kPrefix = "x-envoy-", kCertificate = "x-forwarded-client-cert";
  const auto begins = [&](std::string_view lower) {
    for (size_t i = 0; i < lower.size(); i++) {
      const uint8_t byte = bytes[name.at + i];
      const uint8_t small = byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
      if ((IsSign(small) ? '-' : small) != static_cast<uint8_t>(lower[i])) return false;
    }
    return true;
  };
  return (name.length >= kPrefix.size() && begins(kPrefix)) ||
         (name.length == kCertificate.size() && begins(kCertificate));
}

bool IsAuthority(std::string_view text) {
  return text.size() <= UINT16_MAX && IsHost(BytesOf(text), {0, static_cast<uint16_t>(text.size())});
}

bool IsPath(std::string_view path) {
  if (path.empty() || path[0] != '/') return false;
  for (size_t at = 0; at < path.size(); at++) {
    if (path[at] == '?' || !IsHttp1(BytesOf(path)[at], kTargetByte)) return false;
  }
  return true;
}

bool IsReplaced(const uint8_t* bytes, Http1Span name, const Http1Edit& edit) {
  for (size_t i = 0; i < edit.pair_count; i++) {
    if (!edit.pairs[i].adds && SameName(bytes, name, edit.pairs[i].name)) return true;
  }
  return false;
}

// Inlined, since it runs for each field of each head: as a call it makes a head a third dearer.
[[gnu::always_inline]] inline bool Stays(const uint8_t* bytes, const Http1Head& head, const Http1Field& field,
                                         const Http1Edit& edit) {
  // Connection names it by the option keep-alive.
  if (field.known == Http1Name::kKeepAlive) return edit.keep_alive;
  if (field.named_by_connection) return false;
  switch (field.known) {
    case Http1Name::kConnection:
    case Http1Name::kContentLength:
    case Http1Name::kHttp2Settings:
    case Http1Name::kKeepAlive:
    case Http1Name::kProxyConnection:
    case Http1Name::kTe:
    case Http1Name::kTransferEncoding:
    case Http1Name::kUpgrade:
      return false;
    case Http1Name::kOrlop:
      return head.status != 0 && !IsReplaced(bytes, field.name, edit);
    case Http1Name::kHost:
      return edit.authority.data() == nullptr;
    case Http1Name::kExpect:
    case Http1Name::kTrailer:
      return true;
    case Http1Name::kOther:
      break;
  }
  return !(edit.without_envoys && IsEnvoys(bytes, field.name)) && !IsReplaced(bytes, field.name, edit);
}

void WritePairs(Writer* out, const Http1Pair* pairs, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (pairs[i].value.data() != nullptr) out->Line(pairs[i].name, pairs[i].value);
  }
}

void WriteConnection(Writer* out, const Http1Edit& edit) {
  if (edit.websocket) out->Text("Upgrade: websocket\r\n");
  if (edit.trailers) out->Text("TE: trailers\r\n");
  std::string_view between = "Connection: ";
  const auto option = [&](bool is, std::string_view name) {
    if (!is) return;
    out->Text(between);
    out->Text(name);
    between = ", ";
  };
  const bool close = edit.connection == Http1Option::kClose || edit.framing == Http1Framing::kUntilClose;
  option(close, "close");
  option(!close && edit.connection == Http1Option::kKeepAlive, "keep-alive");
  option(edit.websocket, "Upgrade");
  option(edit.trailers, "TE");
  if (between == ", ") out->Text("\r\n");
}

void WriteLength(Writer* out, uint64_t length) {
  out->Text("Content-Length: ");
  out->Number(length);
  out->Text("\r\n");
}

bool Has(const Http1Head& head, Http1Name known) {
  for (int i = 0; i < head.field_count; i++) {
    if (head.fields[i].known == known) return true;
  }
  return false;
}

// 1xx and 204 have no Content-Length (RFC 9110 section 8.6).
bool MayHaveLength(uint16_t status) {
  return status >= 200 && status != 204;
}

// Everything behind the first line.
void WriteFields(Writer* out, const uint8_t* bytes, const Http1Head& head, const Http1Edit& edit) {
  out->Fields(bytes, head.fields, head.field_count,
              [&](const Http1Field& field) { return Stays(bytes, head, field, edit); });
  WritePairs(out, edit.pairs, edit.pair_count);
  if (edit.framing == Http1Framing::kChunked) out->Text("Transfer-Encoding: chunked\r\n");
  if (edit.framing == Http1Framing::kLength) WriteLength(out, edit.content_length);
  if (edit.framing == Http1Framing::kNone && MayHaveLength(head.status) &&
      Has(head, Http1Name::kContentLength)) {
    WriteLength(out, head.content_length);
  }
  WriteConnection(out, edit);
  out->Text("\r\n");
}

// In origin form, or `*`.
void WriteTarget(Writer* out, const uint8_t* bytes, const Http1Head& head, const Http1Edit& edit) {
  const size_t end = size_t{head.target.at} + head.target.length;
  const size_t query = size_t{head.path.at} + head.path.length;
  if (edit.path.data() != nullptr) {
    out->Text(edit.path);
  } else if (head.path.length == 0) {
    out->Text("/");
  } else {
    out->Span(bytes, head.path);
  }
  out->Bytes(bytes + query, end - query);
}

std::string_view ReasonOf(uint16_t status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 408:
      return "Request Timeout";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "";
  }
}

}  // namespace

bool ArePairs(const Http1Pair* pairs, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const std::string_view name = pairs[i].name, value = pairs[i].value;
    if (name.size() > UINT16_MAX) return false;
    const Http1Span span = {0, static_cast<uint16_t>(name.size())};
    if (!IsToken(BytesOf(name), span)) return false;
    const Http1Name known = KnownHttp1Name(BytesOf(name), span);
    if (known != Http1Name::kOther && known != Http1Name::kOrlop) return false;
    for (size_t at = 0; at < value.size(); at++) {
      if (!IsHttp1(BytesOf(value)[at], kValueByte)) return false;
    }
  }
  return true;
}

Http1Edit UnchangedEdit(const Http1Head& head) {
  Http1Edit edit = {};
  edit.framing = head.framing;
  edit.content_length = head.framing == Http1Framing::kLength ? head.content_length : 0;
  edit.minor = head.minor;
  // A response goes out as HTTP/1.1, in which persistence goes without saying.
  const bool implied = head.status != 0 || head.minor == 1;
  edit.connection = !head.persistent ? Http1Option::kClose
                    : implied        ? Http1Option::kNone
                                     : Http1Option::kKeepAlive;
  edit.websocket = head.upgrades_websocket;
  edit.trailers = head.accepts_trailers;
  return edit;
}

size_t Http1HeadRoom(size_t length, const Http1Edit& edit) {
  // What we may write of our own: a space in each field, Host's authority again, and the fields of connection and framing.
  size_t room = 2 * length + kHttp1Fields + 256 + edit.path.size() + edit.authority.size();
  for (size_t i = 0; i < edit.pair_count; i++)
    room += edit.pairs[i].name.size() + edit.pairs[i].value.size() + 4;
  return room;
}

bool StaysInHead(const uint8_t* bytes, const Http1Head& head, const Http1Field& field,
                 const Http1Edit& edit) {
  return Stays(bytes, head, field, edit);
}

bool MayEditRequest(const uint8_t* bytes, const Http1Head& head, const Http1Edit& edit) {
  if (!ArePairs(edit.pairs, edit.pair_count)) return false;
  if (edit.authority.data() != nullptr && !IsAuthority(edit.authority)) return false;
  const bool whole_server = head.path.length == 1 && bytes[head.path.at] == '*';
  return edit.path.data() == nullptr || (!whole_server && IsPath(edit.path));
}

size_t WriteRequestHead(const uint8_t* bytes, const Http1Head& head, const Http1Edit& edit, uint8_t* to,
                        size_t room) {
  if (edit.framing == Http1Framing::kUntilClose) return 0;
  if (edit.minor == 0 && (edit.framing == Http1Framing::kChunked || edit.websocket)) return 0;
  if (!MayEditRequest(bytes, head, edit)) return 0;
  Writer out(to, room);
  out.Span(bytes, head.method);
  out.Text(" ");
  WriteTarget(&out, bytes, head, edit);
  out.Text(edit.minor == 0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n");
  if (edit.authority.data() != nullptr) {
    out.Line("Host", edit.authority);
  } else if ((edit.minor == 1 || head.authority.length > 0) && !Has(head, Http1Name::kHost)) {
    out.Text("Host: ");
    out.Span(bytes, head.authority);
    out.Text("\r\n");
  }
  WriteFields(&out, bytes, head, edit);
  return out.used();
}

size_t WriteResponseHead(const uint8_t* bytes, const Http1Head& head, const Http1Edit& edit, uint8_t* to,
                         size_t room) {
  const bool body = edit.framing == Http1Framing::kChunked || edit.framing == Http1Framing::kLength;
  if (body && !MayHaveLength(head.status)) return 0;
  if (!ArePairs(edit.pairs, edit.pair_count)) return 0;
  Writer out(to, room);
  out.Text(kHttp1ResponseStart);
  out.Number(head.status);
  out.Text(" ");
  out.Span(bytes, head.reason);
  out.Text("\r\n");
  WriteFields(&out, bytes, head, edit);
  return out.used();
}

size_t WriteReply(const Http1Reply& reply, uint8_t* to, size_t room) {
  if (!ArePairs(reply.pairs, reply.pair_count)) return 0;
  Writer out(to, room);
  out.Text(kHttp1ResponseStart);
  out.Number(reply.status);
  out.Text(" ");
  out.Text(ReasonOf(reply.status));
  out.Text("\r\n");
  WritePairs(&out, reply.pairs, reply.pair_count);
  if (MayHaveLength(reply.status)) WriteLength(&out, reply.body.size());
  Http1Edit edit = {};
  edit.connection = reply.connection;
  WriteConnection(&out, edit);
  out.Text("\r\n");
  if (!reply.to_head && MayHaveLength(reply.status)) out.Text(reply.body);
  return out.used();
}

size_t WriteChunkLine(uint64_t size, uint8_t* to) {
  size_t digits = 1;
  while (digits < 16 && size >> (4 * digits) != 0) digits++;
  for (size_t i = 0; i < digits; i++) {
    to[i] = static_cast<uint8_t>("0123456789abcdef"[size >> (4 * (digits - 1 - i)) & 15]);
  }
  to[digits] = '\r';
  to[digits + 1] = '\n';
  return digits + 2;
}

size_t WriteLastChunk(const uint8_t* section, const Http1TrailerSection* trailers, uint8_t* to, size_t room) {
  Writer out(to, room);
  out.Text("0\r\n");
  if (trailers != nullptr)
    out.Fields(section, trailers->fields, trailers->field_count, [](const Http1Field&) { return true; });
  out.Text("\r\n");
  return out.used();
}

}  // namespace orlop
