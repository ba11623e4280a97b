// 16 · data thread · requests as events for TypeScript.
#include "engine/http/request_event.h"

#include <cstring>
#include <string>
#include <string_view>

namespace orlop {
namespace {

// Letters of a token, which has no byte above 0x7f, made small: a word of them at a time.
template <typename Word>
void MakeSmall(const char* from, char* to) {
  constexpr Word kEach = static_cast<Word>(0x0101010101010101);
  Word word;
  memcpy(&word, from, sizeof word);
  // The high bit of each byte that is `A` or above, and is not above `Z`.
  const Word capital = (word + kEach * 0x3f) & ~(word + kEach * 0x25) & (kEach * 0x80);
  word |= capital >> 2;
  memcpy(to, &word, sizeof word);
}

// Of at least sizeof(Word) letters. The last words may overlap.
template <typename Word>
void MakeAllSmall(const char* from, size_t length, char* to) {
  for (size_t at = 0; at + sizeof(Word) < length; at += sizeof(Word)) MakeSmall<Word>(from + at, to + at);
  const size_t last = length - sizeof(Word);
  MakeSmall<Word>(from + last, to + last);
}

// Texts behind each other, in room that is enough for all of them.
class Filler {
 public:
  explicit Filler(char* to) : begin_(to), to_(to) {}
  void Text(std::string_view text) {
    memcpy(to_, text.data(), text.size());
    to_ += text.size();
  }
  // A token, in small letters.
  void Small(std::string_view text) {
    if (text.size() >= sizeof(uint64_t)) {
      MakeAllSmall<uint64_t>(text.data(), text.size(), to_);
    } else if (text.size() >= sizeof(uint32_t)) {
      MakeAllSmall<uint32_t>(text.data(), text.size(), to_);
    } else {
      MakeAllSmall<uint8_t>(text.data(), text.size(), to_);
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

size_t RequestTextsRoom(const Http1Head& head) {
  size_t room =
      size_t{head.method.length} + head.target.length + 2 * size_t{head.authority.length} + kWrittenRoom;
  for (int i = 0; i < head.field_count; i++)
    room += head.fields[i].name.length + head.fields[i].value.length + 4;
  return room;
}

RequestTexts WriteRequestTexts(const uint8_t* bytes, const Http1Head& head, char* to) {
  const auto text = [bytes](Http1Span span) {
    return std::string_view(reinterpret_cast<const char*>(bytes) + span.at, span.length);
  };
  RequestTexts texts;
  Filler out(to);
  out.Text(text(head.method));
  texts.ends[0] = out.used();
  // Of an absolute URI the part that an application is asked for (RFC 9112 section 3.2.2); without a path that is `/`.
  if (head.path.length == 0) out.Text("/");
  out.Text(text({head.path.at, static_cast<uint16_t>(head.target.at + head.target.length - head.path.at)}));
  texts.ends[1] = out.used();
  out.Text(text(head.authority));
  texts.ends[2] = out.used();
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
  texts.ends[3] = out.used();
  return texts;
}

namespace {

void EmitTexts(EventQueue& events, const orlop_engine_event& record, const uint8_t* bytes,
               const Http1Head& head) {
  const size_t room = RequestTextsRoom(head);
  std::string aside;
  char* to = events.Room(room);
  if (!to) {
    aside.resize(room);
    to = aside.data();
  }
  const RequestTexts texts = WriteRequestTexts(bytes, head, to);
  const auto& ends = texts.ends;
  const std::string_view all(to, ends[3]);
  events.Emit(record, {{all.substr(0, ends[0]), all.substr(ends[0], ends[1] - ends[0]),
                        all.substr(ends[1], ends[2] - ends[1]), all.substr(ends[2])}});
}

}  // namespace

void EmitRequest(EventQueue& events, const RequestsOf& of, int32_t number, const uint8_t* bytes,
                 const Http1Head& head, HttpProtocol protocol) {
  orlop_engine_event record = RecordOf(ORLOP_ENGINE_REQUEST, of, number);
  record.kind = static_cast<uint32_t>(protocol);
  EmitTexts(events, record, bytes, head);
}

void EmitTryFailed(EventQueue& events, const RequestsOf& of, int32_t number, const uint8_t* bytes,
                   const Http1Head& head, const TryEnd& end) {
  orlop_engine_event record = RecordOf(ORLOP_ENGINE_TRY_FAILED, of, number);
  record.kind = static_cast<uint32_t>(end.failure);
  record.detail = end.status;
  record.identity = end.why;
  record.sent_bytes = end.sent ? 1 : 0;
  record.duration_us = end.duration_us;
  EmitTexts(events, record, bytes, head);
}

void EmitRequestEnded(EventQueue& events, const RequestsOf& of, int32_t number, const RequestEnd& end) {
  orlop_engine_event record = RecordOf(ORLOP_ENGINE_REQUEST_ENDED, of, number);
  record.kind = static_cast<uint32_t>(end.outcome);
  record.detail = end.status;
  record.identity = end.why;
  record.sent_bytes = end.sent_payload;
  record.received_bytes = end.received_payload;
  record.duration_us = end.duration_us;
  if (end.message.empty() && end.grpc_status.empty()) return events.Emit(record);
  events.Emit(record, {{end.message, end.grpc_status, {}, {}}});
}

void EmitOpaque(EventQueue& events, const RequestsOf& of) {
  events.Emit(RecordOf(ORLOP_ENGINE_OPAQUE, of, 0));
}

}  // namespace orlop
