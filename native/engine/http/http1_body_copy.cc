// 16 · data thread · bodies of HTTP/1, copied.
#include "engine/http/http1_body_copy.h"

#include <algorithm>
#include <cstdio>
#include <string_view>
#include <utility>

namespace orlop {
namespace {

void Append(ByteQueue* out, std::string_view text) {
  out->Append(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

std::string_view TextOf(const uint8_t* bytes, Http1Span span) {
  return {reinterpret_cast<const char*>(bytes) + span.at, span.length};
}

void WriteChunk(const uint8_t* bytes, size_t length, ByteQueue* out) {
  char line[24];
  const int size = snprintf(line, sizeof line, "%zx\r\n", length);
  Append(out, {line, static_cast<size_t>(size)});
  out->Append(bytes, length);
  Append(out, "\r\n");
}

void WriteLastChunk(const uint8_t* section, const Http1TrailerSection& trailers, ByteQueue* out) {
  Append(out, "0\r\n");
  for (int i = 0; i < trailers.field_count; i++) {
    Append(out, TextOf(section, trailers.fields[i].name));
    Append(out, ": ");
    Append(out, TextOf(section, trailers.fields[i].value));
    Append(out, "\r\n");
  }
  Append(out, "\r\n");
}

}  // namespace

void Http1BodyCopy::Begin(const Http1Head& head) {
  body_ = Http1Body(head);
  chunked_ = head.framing == Http1Framing::kChunked;
  payload_ = 0;
  held_.clear();
}

size_t Http1BodyCopy::Take(const uint8_t* bytes, size_t length, ByteQueue* out, Http1Refusal* refusal) {
  if (held_.empty()) {
    const size_t used = Read(bytes, length, out, refusal);
    if (*refusal != Http1Refusal::kNone || done()) return used;
    held_.assign(reinterpret_cast<const char*>(bytes) + used, length - used);
    return length;
  }
  // What waits is shorter than any line may be, so that little is copied until it is whole.
  const size_t before = held_.size();
  const size_t added = std::min(length, kHttp1BodyUnused);
  std::string all = std::move(held_);
  held_.clear();
  all.append(reinterpret_cast<const char*>(bytes), added);
  const size_t used = Read(reinterpret_cast<const uint8_t*>(all.data()), all.size(), out, refusal);
  if (*refusal != Http1Refusal::kNone) return added;
  if (done()) return used - before;
  held_ = all.substr(used);
  return added;
}

size_t Http1BodyCopy::Read(const uint8_t* bytes, size_t length, ByteQueue* out, Http1Refusal* refusal) {
  *refusal = Http1Refusal::kNone;
  size_t used = 0;
  for (;;) {
    Http1TrailerSection trailers;
    const Http1BodyStep step = body_.Read(bytes + used, length - used, &trailers);
    const uint8_t* const part = bytes + used + step.at;
    used += step.used;
    switch (step.event) {
      case Http1BodyEvent::kWait:
        return used;
      case Http1BodyEvent::kRefused:
        *refusal = step.refusal;
        return used;
      case Http1BodyEvent::kEnd:
        if (chunked_ && out) WriteLastChunk(part, trailers, out);
        return used;
      case Http1BodyEvent::kPayload: {
        const size_t size = step.used - step.at;
        payload_ += size;
        if (!out) continue;
        chunked_ ? WriteChunk(part, size, out) : out->Append(part, size);
        continue;
      }
    }
  }
}

}  // namespace orlop
