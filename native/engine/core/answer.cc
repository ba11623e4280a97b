// 6 · data thread · an answer of TypeScript, checked. What it does is up to the object that it names: see OnAnswer there.
#include "engine/core/answer.h"

#include <algorithm>
#include <cstring>

namespace orlop {

Answer::Answer(const uint8_t* record, const uint8_t* text, size_t text_size)
    : text_(text), text_size_(text_size) {
  memcpy(&record_, record, sizeof record_);
}

bool Answer::From(Endpoint* out) const {
  *out = {record_.from.addr, record_.from.port};
  return record_.from.known != 0;
}

HttpReading Answer::reading() const {
  switch (record_.requests & ~uint32_t{ORLOP_REPORTS_NOT_REACHED}) {
    case static_cast<uint32_t>(HttpReading::kUnread):
      return HttpReading::kUnread;
    case static_cast<uint32_t>(HttpReading::kOrPass):
      return HttpReading::kOrPass;
    default:
      return HttpReading::kOrEnd;
  }
}

OriginWay Answer::way() const {
  switch (record_.requests) {
    case static_cast<uint32_t>(OriginWay::kTunnel):
      return OriginWay::kTunnel;
    case static_cast<uint32_t>(OriginWay::kDial):
      return OriginWay::kDial;
    default:
      return OriginWay::kRelay;
  }
}

orlop_origin_pool Answer::pool() const {
  orlop_origin_pool pool = {};
  const std::string_view bytes = Bytes(3);
  if (bytes.size() == sizeof pool) memcpy(&pool, bytes.data(), sizeof pool);
  return pool;
}

std::string_view Answer::Bytes(int index) const {
  const orlop_span& span = record_.text[index];
  if (span.length > ORLOP_ANSWER_TEXT_LIMIT || span.offset > text_size_ ||
      span.length > text_size_ - span.offset)
    return {};
  return {reinterpret_cast<const char*>(text_) + span.offset, span.length};
}

std::string_view Answer::Text(int index) const {
  const std::string_view view = Bytes(index);
  const bool clean = std::all_of(view.begin(), view.end(),
                                 [](char c) { return static_cast<uint8_t>(c) >= 0x20 && c != 0x7f; });
  return clean ? view : std::string_view();
}

}  // namespace orlop
