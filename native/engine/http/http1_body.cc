// any thread · bodies of HTTP/1: a small state machine between what a head announced and the first byte behind the message.
#include "engine/http/http1_body.h"

#include <algorithm>

namespace orlop {

using Event = Http1BodyEvent;
using Refusal = Http1Refusal;

Http1Follows FollowsResponse(const Http1Head& head, bool answers_connect) {
  if (head.status == 101) return Http1Follows::kOpaque;
  if (head.status < 200) return Http1Follows::kResponse;
  return answers_connect && head.status < 300 ? Http1Follows::kOpaque : Http1Follows::kBody;
}

Http1Body::Http1Body(const Http1Head& head) {
  switch (head.framing) {
    case Http1Framing::kNone:
      break;
    case Http1Framing::kLength:
      left_ = head.content_length;
      if (left_ > 0) state_ = State::kLength;
      break;
    case Http1Framing::kChunked:
      state_ = State::kLine;
      break;
    case Http1Framing::kUntilClose:
      left_ = UINT64_MAX;
      state_ = State::kUntilClose;
      break;
  }
}

Http1BodyStep Http1Body::Read(const uint8_t* bytes, size_t length, Http1TrailerSection* trailers) {
  size_t used = 0;
  Refusal refusal = Refusal::kNone;
  for (;;) {
    switch (state_) {
      case State::kEnd:
        trailers->used = trailers->field_count = 0;
        return {Event::kEnd, Refusal::kNone, used, used};
      case State::kRefused:
        return Refuse(refusal_, used);
      case State::kLength:
      case State::kUntilClose:
      case State::kData:
        return used == length ? Wait(used) : ReadPayload(length, used);
      case State::kTrailers:
        return ReadSection(bytes, length, used, trailers);
      case State::kLine:
        if (ReadLine(bytes, length, &used, &refusal)) break;
        return refusal == Refusal::kNone ? Wait(used) : Refuse(refusal, used);
      case State::kDataEnd:
        if (ReadDataEnd(bytes, length, &used, &refusal)) break;
        return refusal == Refusal::kNone ? Wait(used) : Refuse(refusal, used);
    }
  }
}

Http1BodyStep Http1Body::Refuse(Http1Refusal refusal, size_t used) {
  state_ = State::kRefused;
  refusal_ = refusal;
  return {Event::kRefused, refusal, used, used};
}

Http1BodyStep Http1Body::ReadPayload(size_t length, size_t used) {
  const uint64_t part = std::min<uint64_t>(length - used, left_);
  if (state_ != State::kUntilClose) left_ -= part;
  if (left_ == 0) state_ = state_ == State::kData ? State::kDataEnd : State::kEnd;
  return {Event::kPayload, Refusal::kNone, used, used + static_cast<size_t>(part)};
}

bool Http1Body::ReadLine(const uint8_t* bytes, size_t length, size_t* used, Http1Refusal* refusal) {
  Http1ChunkLine line;
  *refusal = ReadChunkLine(bytes + *used, length - *used, &line);
  if (*refusal != Refusal::kNone || line.used == 0) return false;
  extensions_ += line.extensions;
  if (extensions_ > kHttp1ExtensionBytes) {
    *refusal = Refusal::kExtensionsTooLarge;
    return false;
  }
  *used += line.used;
  left_ = line.size;
  state_ = line.size == 0 ? State::kTrailers : State::kData;
  last_chunk_ = line.size == 0;
  return true;
}

bool Http1Body::ReadDataEnd(const uint8_t* bytes, size_t length, size_t* used, Http1Refusal* refusal) {
  uint16_t end = 0;
  *refusal = ReadChunkEnd(bytes + *used, length - *used, &end);
  if (*refusal != Refusal::kNone || end == 0) return false;
  *used += end;
  state_ = State::kLine;
  return true;
}

// The section is read once, when all of it has come: a sender of single bytes does not make us read its fields again and again.
Http1BodyStep Http1Body::ReadSection(const uint8_t* bytes, size_t length, size_t used,
                                     Http1TrailerSection* trailers) {
  const uint8_t* const section = bytes + used;
  const size_t seen = std::min(length - used, kHttp1TrailerBytes);
  const bool empty = seen >= 2 && section[0] == '\r' && section[1] == '\n';
  const size_t end = empty ? 2 : Http1HeadEnd(section, seen, scanned_);
  if (end == 0 && seen < kHttp1TrailerBytes) {
    scanned_ = static_cast<uint16_t>(seen);
    return Wait(used);
  }
  const Refusal refusal = ReadTrailers(section, end == 0 ? seen : end, trailers);
  if (refusal != Refusal::kNone) return Refuse(refusal, used);
  // A section with an end in it is read to that end, or refused; a section without an end is refused for its size.
  if (trailers->used == 0) return Refuse(Refusal::kTrailersTooLarge, used);
  state_ = State::kEnd;
  last_chunk_ = false;
  return {Event::kEnd, Refusal::kNone, used, used + trailers->used};
}

Http1Refusal Http1Body::Close() {
  if (state_ == State::kUntilClose) state_ = State::kEnd;
  if (state_ == State::kEnd) return Refusal::kNone;
  if (state_ == State::kRefused) return refusal_;
  Refuse(Refusal::kBodyCut, 0);
  return Refusal::kBodyCut;
}

}  // namespace orlop
