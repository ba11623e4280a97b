// 16 · data thread · requests as events for TypeScript.
#include "engine/http/request_event.h"

#include <string_view>

namespace orlop {
namespace {

void AppendLength(std::string* out, uint16_t length) {
  out->append(reinterpret_cast<const char*>(&length), sizeof length);
}

void AppendSmall(std::string* out, std::string_view name) {
  for (const char byte : name)
    out->push_back(byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + 32) : byte);
}

// The application gets the field as it came (http1_write.cc).
bool IsHeard(const Http1Field& field) {
  switch (field.known) {
    case Http1Name::kConnection:
    case Http1Name::kContentLength:
    case Http1Name::kHttp2Settings:
    case Http1Name::kOrlop:
    case Http1Name::kProxyConnection:
    case Http1Name::kTe:
    case Http1Name::kTransferEncoding:
    case Http1Name::kUpgrade:
      return false;
    case Http1Name::kKeepAlive:
      return true;
    default:
      return !field.named_by_connection;
  }
}

void AppendField(std::string* out, std::string_view name, std::string_view value) {
  AppendLength(out, static_cast<uint16_t>(name.size()));
  AppendLength(out, static_cast<uint16_t>(value.size()));
  *out += name;
  *out += value;
}

// Fields that are written anew, as they are written.
void AppendWritten(std::string* out, const Http1Head& head) {
  if (head.upgrades_websocket) AppendField(out, "upgrade", "websocket");
  if (head.accepts_trailers) AppendField(out, "te", "trailers");
  if (head.framing == Http1Framing::kChunked) AppendField(out, "transfer-encoding", "chunked");
  if (head.framing == Http1Framing::kLength)
    AppendField(out, "content-length", std::to_string(head.content_length));
}

orlop_engine_event RecordOf(uint32_t type, const RequestsOf& of, int32_t number) {
  orlop_engine_event record{};
  record.type = type;
  record.conn = of.ref.index;
  record.generation = of.ref.generation;
  record.pod_idx = of.pod_idx;
  record.expect = number;
  return record;
}

}  // namespace

RequestTexts::RequestTexts(const uint8_t* bytes, const Http1Head& head) {
  const auto text = [bytes](Http1Span span) {
    return std::string_view(reinterpret_cast<const char*>(bytes) + span.at, span.length);
  };
  size_t fields = 0;
  for (int i = 0; i < head.field_count; i++)
    fields += head.fields[i].name.length + head.fields[i].value.length + 4;
  all.reserve(size_t{head.method.length} + head.target.length + head.authority.length + fields + 128);
  all += text(head.method);
  ends[0] = all.size();
  // Of an absolute URI the part that an application is asked for (RFC 9112 section 3.2.2); without a path that is `/`.
  if (head.path.length == 0) all += '/';
  all += text({head.path.at, static_cast<uint16_t>(head.target.at + head.target.length - head.path.at)});
  ends[1] = all.size();
  all += text(head.authority);
  ends[2] = all.size();
  bool has_host = false;
  for (int i = 0; i < head.field_count; i++) {
    const Http1Field& field = head.fields[i];
    has_host = has_host || field.known == Http1Name::kHost;
    if (!IsHeard(field)) continue;
    AppendLength(&all, field.name.length);
    AppendLength(&all, field.value.length);
    AppendSmall(&all, text(field.name));
    all += text(field.value);
  }
  if (!has_host && head.authority.length > 0) AppendField(&all, "host", text(head.authority));
  AppendWritten(&all, head);
}

void EmitRequest(EventQueue& events, const RequestsOf& of, int32_t number, const RequestTexts& texts) {
  const std::string_view all = texts.all;
  const size_t* const ends = texts.ends;
  events.Emit(RecordOf(ORLOP_ENGINE_REQUEST, of, number),
              {{all.substr(0, ends[0]), all.substr(ends[0], ends[1] - ends[0]),
                all.substr(ends[1], ends[2] - ends[1]), all.substr(ends[2])}});
}

void EmitRequestEnded(EventQueue& events, const RequestsOf& of, int32_t number, const RequestEnd& end) {
  orlop_engine_event record = RecordOf(ORLOP_ENGINE_REQUEST_ENDED, of, number);
  record.kind = static_cast<uint32_t>(end.outcome);
  record.detail = end.status;
  record.identity = static_cast<int32_t>(end.refusal);
  record.sent_bytes = end.sent_payload;
  record.received_bytes = end.received_payload;
  record.duration_us = end.duration_us;
  events.Emit(record);
}

void EmitOpaque(EventQueue& events, const RequestsOf& of) {
  events.Emit(RecordOf(ORLOP_ENGINE_OPAQUE, of, 0));
}

}  // namespace orlop
