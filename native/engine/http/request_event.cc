// 16 · data thread · requests as events for TypeScript.
#include "engine/http/request_event.h"

#include <cstring>
#include <string_view>

namespace orlop {
namespace {

// Texts behind each other, in room that is enough for all of them.
class Filler {
 public:
  explicit Filler(char* to) : begin_(to), to_(to) {}
  void Text(std::string_view text) {
    memcpy(to_, text.data(), text.size());
    to_ += text.size();
  }
  // In small letters.
  void Small(std::string_view text) {
    for (size_t i = 0; i < text.size(); i++) {
      const bool capital = text[i] >= 'A' && text[i] <= 'Z';
      to_[i] = static_cast<char>(text[i] | (capital ? 0x20 : 0));
    }
    to_ += text.size();
  }
  void Lengths(size_t name, size_t value) {
    const uint16_t both[2] = {static_cast<uint16_t>(name), static_cast<uint16_t>(value)};
    memcpy(to_, both, sizeof both);
    to_ += sizeof both;
  }
  void Field(std::string_view name, std::string_view value) {
    Lengths(name.size(), value.size());
    Text(name);
    Text(value);
  }
  size_t used() const { return static_cast<size_t>(to_ - begin_); }

 private:
  char* const begin_;
  char* to_;
};

// What FillWritten and Host may add to the fields that came, and the `/` of an absolute URI without a path.
constexpr size_t kWrittenRoom = 160;

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

// Fields that are written anew, as they are written.
void FillWritten(Filler* out, const Http1Head& head) {
  if (head.upgrades_websocket) out->Field("upgrade", "websocket");
  if (head.accepts_trailers) out->Field("te", "trailers");
  if (head.framing == Http1Framing::kChunked) out->Field("transfer-encoding", "chunked");
  if (head.framing == Http1Framing::kLength)
    out->Field("content-length", std::to_string(head.content_length));
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
  size_t room =
      size_t{head.method.length} + head.target.length + 2 * size_t{head.authority.length} + kWrittenRoom;
  for (int i = 0; i < head.field_count; i++)
    room += head.fields[i].name.length + head.fields[i].value.length + 4;
  all.resize(room);
  Filler out(all.data());
  out.Text(text(head.method));
  ends[0] = out.used();
  // Of an absolute URI the part that an application is asked for (RFC 9112 section 3.2.2); without a path that is `/`.
  if (head.path.length == 0) out.Text("/");
  out.Text(text({head.path.at, static_cast<uint16_t>(head.target.at + head.target.length - head.path.at)}));
  ends[1] = out.used();
  out.Text(text(head.authority));
  ends[2] = out.used();
  bool has_host = false;
  for (int i = 0; i < head.field_count; i++) {
    const Http1Field& field = head.fields[i];
    has_host = has_host || field.known == Http1Name::kHost;
    if (!IsHeard(field)) continue;
    out.Lengths(field.name.length, field.value.length);
    out.Small(text(field.name));
    out.Text(text(field.value));
  }
  if (!has_host && head.authority.length > 0) out.Field("host", text(head.authority));
  FillWritten(&out, head);
  all.resize(out.used());
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
