// 14 · data thread · bodies of HTTP/1, copied.
#include "engine/http/http1_body_copy.h"

#include <algorithm>
#include <cstdio>
#include <string_view>

#include "engine/http/http1_chunk.h"

namespace orlop {
namespace {

// Of all lines of a body together: nobody reads extensions, and without data between them they would never end.
constexpr size_t kExtensionBytes = 16 * 1024;

void Append(ByteQueue* out, std::string_view text) {
  if (out) out->Append(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

std::string_view TextOf(const uint8_t* bytes, Http1Span span) {
  return {reinterpret_cast<const char*>(bytes) + span.at, span.length};
}

}  // namespace

void Http1BodyCopy::Begin(Http1Framing framing, uint64_t length) {
  payload_ = 0;
  extensions_ = 0;
  held_.clear();
  left_ = length;
  switch (framing) {
    case Http1Framing::kNone:
      stage_ = Stage::kDone;
      break;
    case Http1Framing::kLength:
      stage_ = length > 0 ? Stage::kData : Stage::kDone;
      break;
    case Http1Framing::kChunked:
      stage_ = Stage::kChunkLine;
      break;
    case Http1Framing::kUntilClose:
      stage_ = Stage::kUntilClose;
      break;
  }
}

size_t Http1BodyCopy::Take(const uint8_t* bytes, size_t length, ByteQueue* out, Http1Refusal* refusal) {
  *refusal = Http1Refusal::kNone;
  size_t taken = 0;
  while (taken < length && !done() && *refusal == Http1Refusal::kNone) {
    if (stage_ != Stage::kData && stage_ != Stage::kChunkData && stage_ != Stage::kUntilClose) {
      taken += TakeLine(bytes + taken, length - taken, out, refusal);
      continue;
    }
    const size_t part = stage_ == Stage::kUntilClose
                            ? length - taken
                            : static_cast<size_t>(std::min<uint64_t>(left_, length - taken));
    if (out) out->Append(bytes + taken, part);
    taken += part;
    payload_ += part;
    if (stage_ == Stage::kUntilClose) continue;
    left_ -= part;
    if (left_ > 0) continue;
    stage_ = stage_ == Stage::kData ? Stage::kDone : Stage::kChunkEnd;
  }
  return taken;
}

bool Http1BodyCopy::TakeEnd() {
  if (stage_ == Stage::kUntilClose) stage_ = Stage::kDone;
  return done();
}

size_t Http1BodyCopy::TakeLine(const uint8_t* bytes, size_t length, ByteQueue* out, Http1Refusal* refusal) {
  const size_t before = held_.size();
  const size_t most = stage_ == Stage::kTrailers ? kHttp1TrailerBytes : kHttp1ChunkLineBytes;
  held_.append(reinterpret_cast<const char*>(bytes), std::min(length, most - before));
  const size_t appended = held_.size() - before;
  const size_t used = ReadPart(out, refusal);
  if (used == 0) return appended;
  held_.clear();
  return used - before;
}

size_t Http1BodyCopy::ReadPart(ByteQueue* out, Http1Refusal* refusal) {
  const auto* const bytes = reinterpret_cast<const uint8_t*>(held_.data());
  if (stage_ == Stage::kChunkLine) {
    Http1ChunkLine line;
    *refusal = ReadChunkLine(bytes, held_.size(), &line);
    if (*refusal != Http1Refusal::kNone || line.used == 0) return 0;
    extensions_ += line.extensions;
    if (extensions_ > kExtensionBytes) {
      *refusal = Http1Refusal::kChunkLineTooLong;
      return 0;
    }
    char text[24];
    const int size = snprintf(text, sizeof text, "%llx\r\n", static_cast<unsigned long long>(line.size));
    Append(out, {text, static_cast<size_t>(size)});
    left_ = line.size;
    stage_ = line.size > 0 ? Stage::kChunkData : Stage::kTrailers;
    return line.used;
  }
  if (stage_ == Stage::kChunkEnd) {
    uint16_t used = 0;
    *refusal = ReadChunkEnd(bytes, held_.size(), &used);
    if (*refusal != Http1Refusal::kNone || used == 0) return 0;
    Append(out, "\r\n");
    stage_ = Stage::kChunkLine;
    return used;
  }
  Http1TrailerSection trailers;
  *refusal = ReadTrailers(bytes, held_.size(), &trailers);
  if (*refusal != Http1Refusal::kNone || trailers.used == 0) return 0;
  for (int i = 0; i < trailers.field_count; i++) {
    Append(out, TextOf(bytes, trailers.fields[i].name));
    Append(out, ": ");
    Append(out, TextOf(bytes, trailers.fields[i].value));
    Append(out, "\r\n");
  }
  Append(out, "\r\n");
  stage_ = Stage::kDone;
  return trailers.used;
}

}  // namespace orlop
