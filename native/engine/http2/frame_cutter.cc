// 11 · data thread · frames and their cost, in units of about 2,000 instructions.
#include "engine/http2/frame_cutter.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstring>

namespace orlop {
namespace {

constexpr size_t kPreface = 24;
constexpr size_t kStreamIdentifier = 4;
// A request makes a connection, its reset ends it: 32 and 64 of these in a turn.
constexpr uint32_t kRequestWork = 16;
constexpr uint32_t kResetWork = 8;
// Its windows concern each stream.
constexpr uint32_t kSettingsWork = 8;
// A field may be a byte that refers to kilobytes. Most requests are shorter than what is free.
constexpr size_t kFreeFieldBytes = 512;
constexpr size_t kFieldBytesPerUnit = 16;
constexpr size_t kFieldSlice = 1024;

uint32_t WorkOf(uint8_t type) {
  switch (type) {
    case NGHTTP2_HEADERS:
      return kRequestWork;
    case NGHTTP2_RST_STREAM:
      return kResetWork;
    case NGHTTP2_SETTINGS:
      return kSettingsWork;
    default:
      return 1;
  }
}

}  // namespace

void FrameCutter::ExpectPreface() {
  left_ = kPreface;
  alone_ = true;
}

FrameCutter::Cut FrameCutter::Next(const uint8_t* bytes, size_t length, uint32_t work_left) {
  Cut cut;
  while (cut.length < length) {
    if (left_ == 0) {
      if (!ReadHead(bytes, length, &cut) || named_ > 0) break;
    } else if (named_ > 0) {
      cut.last_stream = true;
      cut.length = std::min(named_, length);
      named_ -= cut.length;
      left_ -= cut.length;
      break;
    }
    size_t part = std::min(left_, length - cut.length);
    if (fields_) {
      part = std::min(part, kFieldSlice);
      const size_t included = std::min(free_, part);
      free_ -= included;
      cut.work += static_cast<uint32_t>((part - included + kFieldBytesPerUnit - 1) / kFieldBytesPerUnit);
    }
    cut.length += part;
    left_ -= part;
    if ((left_ == 0 && alone_) || cut.work >= work_left) break;
  }
  return cut;
}

bool FrameCutter::ReadHead(const uint8_t* bytes, size_t length, Cut* cut) {
  if (head_length_ == 0 && length - cut->length >= kHead) {
    BeginFrame(bytes + cut->length, cut);
    cut->length += kHead;
    return true;
  }
  const size_t part = std::min(kHead - head_length_, length - cut->length);
  memcpy(head_ + head_length_, bytes + cut->length, part);
  head_length_ += part;
  cut->length += part;
  if (head_length_ < kHead) return false;
  head_length_ = 0;
  BeginFrame(head_, cut);
  return true;
}

void FrameCutter::BeginFrame(const uint8_t* head, Cut* cut) {
  const uint8_t type = head[3];
  left_ = static_cast<size_t>(head[0]) << 16 | static_cast<size_t>(head[1]) << 8 | head[2];
  named_ = type == NGHTTP2_GOAWAY ? std::min(left_, kStreamIdentifier) : 0;
  alone_ = type != NGHTTP2_DATA || left_ == 0;
  fields_ = type == NGHTTP2_HEADERS || type == NGHTTP2_CONTINUATION;
  free_ = type == NGHTTP2_HEADERS ? kFreeFieldBytes : 0;
  cut->work += WorkOf(type);
}

}  // namespace orlop
