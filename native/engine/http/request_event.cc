// 6 · data thread · heads of requests for TypeScript.
#include "engine/http/request_event.h"

#include "engine/http/http1_head_copy.h"

namespace orlop {
namespace {

void AppendLength(std::string* out, uint16_t length) {
  out->append(reinterpret_cast<const char*>(&length), sizeof length);
}

void AppendSmall(std::string* out, std::string_view name) {
  for (const char byte : name)
    out->push_back(byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + 32) : byte);
}

}  // namespace

std::string RequestTexts(const uint8_t* bytes, const Http1Head& head, size_t ends[3]) {
  const auto text = [bytes](Http1Span span) {
    return std::string_view(reinterpret_cast<const char*>(bytes) + span.at, span.length);
  };
  std::string out;
  size_t fields = 0;
  for (int i = 0; i < head.field_count; i++)
    fields += head.fields[i].name.length + head.fields[i].value.length + 4;
  out.reserve(size_t{head.method.length} + head.target.length + head.authority.length + fields);
  out += text(head.method);
  ends[0] = out.size();
  // Of an absolute URI the part that an application is asked for (RFC 9112 section 3.2.2); without a path that is `/`.
  if (head.path.length == 0) out += '/';
  out += text({head.path.at, static_cast<uint16_t>(head.target.at + head.target.length - head.path.at)});
  ends[1] = out.size();
  out += text(head.authority);
  ends[2] = out.size();
  for (int i = 0; i < head.field_count; i++) {
    const Http1Field& field = head.fields[i];
    if (!GoesOn(head, field)) continue;
    AppendLength(&out, field.name.length);
    AppendLength(&out, field.value.length);
    AppendSmall(&out, text(field.name));
    out += text(field.value);
  }
  return out;
}

bool SameMethod(const std::string& head, Http1Span method, std::string_view wanted) {
  return std::string_view(head).substr(method.at, method.length) == wanted;
}

}  // namespace orlop
