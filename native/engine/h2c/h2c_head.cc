// 17 · any thread · heads of requests between HTTP/2 and HTTP/1.
#include "engine/h2c/h2c_head.h"

#include <algorithm>

namespace orlop {
namespace {

using Refusal = Http1Refusal;

const uint8_t* BytesOf(std::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

// Nothing in it ends a part of a line of HTTP/1.
bool IsVisible(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<uint8_t>(c) > 0x20 && c != 0x7f; });
}

// RFC 9113 8.2: a token in small letters.
bool IsName(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return IsHttp1(static_cast<uint8_t>(c), kTokenByte) && (c < 'A' || c > 'Z');
  });
}

// RFC 9113 8.2.1.
bool IsValue(std::string_view value) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  if (!value.empty() && (is_blank(value.front()) || is_blank(value.back()))) return false;
  return std::all_of(value.begin(), value.end(),
                     [](char c) { return IsHttp1(static_cast<uint8_t>(c), kValueByte); });
}

Http1Span All(std::string_view text) {
  return {0, static_cast<uint16_t>(text.size())};
}

// Fields of a connection (RFC 9113 8.2.2).
bool IsOfConnection(const H2Field& field) {
  switch (KnownHttp1Name(BytesOf(field.name), All(field.name))) {
    case Http1Name::kConnection:
    case Http1Name::kKeepAlive:
    case Http1Name::kProxyConnection:
    case Http1Name::kTransferEncoding:
    case Http1Name::kUpgrade:
    case Http1Name::kHttp2Settings:
      return true;
    case Http1Name::kTe:
      return field.value != "trailers";
    default:
      return false;
  }
}

bool SameHost(std::string_view a, std::string_view b) {
  const auto small = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [&](char x, char y) { return small(x) == small(y); });
}

struct Pseudo {
  std::string_view method, scheme, authority, path;
};

Refusal ReadPseudo(const H2cFields& fields, Pseudo* pseudo) {
  for (size_t i = 0; i < fields.count(); i++) {
    const H2Field field = fields.At(i);
    if (field.name.empty() || field.name[0] != ':') continue;
    std::string_view* const part = field.name == ":method"      ? &pseudo->method
                                   : field.name == ":scheme"    ? &pseudo->scheme
                                   : field.name == ":authority" ? &pseudo->authority
                                   : field.name == ":path"      ? &pseudo->path
                                                                : nullptr;
    if (part == nullptr || part->data() != nullptr) return Refusal::kHttp2;
    *part = field.value;
  }
  if (pseudo->method == "CONNECT") return Refusal::kConnect;
  if (pseudo->method.empty() || !IsVisible(pseudo->method)) return Refusal::kStartLine;
  if (pseudo->scheme != "http" && pseudo->scheme != "https") return Refusal::kTarget;
  const bool whole_server = pseudo->path == "*" && pseudo->method == "OPTIONS";
  const bool is_path = !pseudo->path.empty() && pseudo->path[0] == '/';
  if ((!is_path && !whole_server) || !IsVisible(pseudo->path)) return Refusal::kTarget;
  return IsVisible(pseudo->authority) ? Refusal::kNone : Refusal::kHost;
}

void Line(std::string_view name, std::string_view value, std::string* text) {
  text->append(name).append(": ").append(value).append("\r\n");
}

Refusal WriteLines(const H2cFields& fields, const Pseudo& pseudo, std::string* text) {
  std::string cookies;
  bool has_host = false, has_cookie = false;
  for (size_t i = 0; i < fields.count(); i++) {
    const H2Field field = fields.At(i);
    if (!field.name.empty() && field.name[0] == ':') continue;
    if (!IsName(field.name)) return Refusal::kFieldName;
    if (!IsValue(field.value)) return Refusal::kFieldValue;
    if (IsOfConnection(field)) return Refusal::kConnection;
    if (field.name == "host") {
      if (has_host) return Refusal::kHostTwice;
      has_host = true;
      if (pseudo.authority.data() != nullptr && !SameHost(pseudo.authority, field.value))
        return Refusal::kHostMismatch;
    } else if (field.name == "cookie") {
      if (has_cookie) cookies.append("; ");
      has_cookie = true;
      cookies.append(field.value);
      continue;
    }
    Line(field.name, field.value, text);
  }
  if (has_cookie) Line("cookie", cookies, text);
  if (!has_host && !pseudo.authority.empty()) Line("host", pseudo.authority, text);
  return Refusal::kNone;
}

Refusal Read(const H2cFields& fields, bool ends, std::string* text, Http1Head* head) {
  if (fields.too_large()) return Refusal::kHeadTooLarge;
  if (fields.too_many()) return Refusal::kTooManyFields;
  Pseudo pseudo;
  Refusal refusal = ReadPseudo(fields, &pseudo);
  if (refusal != Refusal::kNone) return refusal;
  text->append(pseudo.method).append(" ").append(pseudo.path).append(" HTTP/1.1\r\n");
  refusal = WriteLines(fields, pseudo, text);
  if (refusal != Refusal::kNone) return refusal;
  text->append("\r\n");
  if (text->size() > kHttp1HeadBytes) return Refusal::kHeadTooLarge;
  refusal = ReadRequestHead(BytesOf(*text), text->size(), head);
  if (refusal != Refusal::kNone) return refusal;
  if (head->authority.length == 0) return Refusal::kHostMissing;
  const bool cut = ends && head->framing == Http1Framing::kLength && head->content_length > 0;
  return cut ? Refusal::kBodyCut : Refusal::kNone;
}

// In small letters, at the end of `own`, which has the room.
std::string_view Small(std::string_view name, std::string* own) {
  const size_t from = own->size();
  for (const char c : name) own->push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c);
  return std::string_view(*own).substr(from);
}

}  // namespace

Http1Refusal ReadH2cRequest(const H2cFields& fields, bool ends, std::string* text, Http1Head* head) {
  text->clear();
  const Refusal refusal = Read(fields, ends, text, head);
  if (refusal != Refusal::kNone) text->clear();
  return refusal;
}

Http1Refusal CheckH2cTrailers(const H2cFields& fields) {
  if (fields.too_large() || fields.too_many()) return Refusal::kTrailersTooLarge;
  for (size_t i = 0; i < fields.count(); i++) {
    const H2Field field = fields.At(i);
    if (!IsName(field.name) || IsOfConnection(field) || IsProtectedName(BytesOf(field.name), All(field.name)))
      return Refusal::kTrailerField;
    if (!IsValue(field.value)) return Refusal::kFieldValue;
  }
  return Refusal::kNone;
}

bool WriteH2cRequest(const uint8_t* bytes, const Http1Head& head, const Http1Edit& edit,
                     std::string_view scheme, H2cBlock* block) {
  if (!MayEditRequest(bytes, head, edit)) return false;
  const auto text = [bytes](Http1Span span) {
    return std::string_view(reinterpret_cast<const char*>(bytes) + span.at, span.length);
  };
  // What is written to `own` may not move.
  size_t room = size_t{head.target.length} + edit.path.size();
  for (size_t i = 0; i < edit.pair_count; i++) room += edit.pairs[i].name.size();
  block->own.reserve(room);
  std::string_view path = text(head.target);
  if (edit.path.data() != nullptr) {
    const std::string_view query = path.substr(head.path.at + head.path.length - head.target.at);
    block->own.append(edit.path).append(query);
    path = std::string_view(block->own);
  }
  std::vector<H2Field>& to = block->fields;
  to.reserve(5 + head.field_count + edit.pair_count);
  to.push_back({":method", text(head.method)});
  to.push_back({":scheme", scheme});
  to.push_back({":authority", edit.authority.data() != nullptr ? edit.authority : text(head.authority)});
  to.push_back({":path", path});
  for (int i = 0; i < head.field_count; i++) {
    const Http1Field& field = head.fields[i];
    const bool length = field.known == Http1Name::kContentLength;
    if (field.known == Http1Name::kHost || (!length && !StaysInHead(bytes, head, field, edit))) continue;
    to.push_back({text(field.name), text(field.value)});
  }
  if (head.accepts_trailers) to.push_back({"te", "trailers"});
  for (size_t i = 0; i < edit.pair_count; i++) {
    const Http1Pair& pair = edit.pairs[i];
    if (pair.value.data() != nullptr) to.push_back({Small(pair.name, &block->own), pair.value});
  }
  return to.size() <= H2Session::kMostFields;
}

}  // namespace orlop
