// fuzz · http1_chunk.cc: a body in chunks as it comes, in pieces of any size. The first byte of the input is the size of a piece. The
// body ends at the same byte, or is refused, in whatever pieces it comes.
#include "engine/http/http1_chunk.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace {

using namespace orlop;

void Expect(bool holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "fuzz: %s\n", what);
  abort();
}

// How a body ended: refused, at this byte, or not yet.
struct End {
  Http1Refusal refusal = Http1Refusal::kNone;
  size_t at = 0;
  bool done = false;
};

// A body as far as it was read.
class Body {
 public:
  // All that has come. True when the body goes on behind it.
  bool Read(const uint8_t* bytes, size_t length) {
    for (;;) {
      const size_t before = at_;
      const State state = state_;
      if (!Step(bytes, length)) return false;
      if (at_ == before && state_ == state) return true;
    }
  }
  const End& end() const { return end_; }

 private:
  enum class State { kLine, kData, kDataEnd, kTrailers };

  // False when the body has ended.
  bool Step(const uint8_t* bytes, size_t length) {
    const uint8_t* const here = bytes + at_;
    const size_t left = length - at_;
    uint16_t used = 0;
    if (state_ == State::kLine) {
      Http1ChunkLine line;
      end_.refusal = ReadChunkLine(here, left, &line);
      used = line.used;
      left_ = line.size;
      if (used > 0) state_ = line.size == 0 ? State::kTrailers : State::kData;
    } else if (state_ == State::kData) {
      const uint64_t part = std::min<uint64_t>(left, left_);
      left_ -= part;
      at_ += part;
      if (left_ == 0) state_ = State::kDataEnd;
    } else if (state_ == State::kDataEnd) {
      end_.refusal = ReadChunkEnd(here, left, &used);
      if (used > 0) state_ = State::kLine;
    } else {
      Http1TrailerSection trailers;
      end_.refusal = ReadTrailers(here, left, &trailers);
      used = trailers.used;
      end_.done = used > 0;
      for (int i = 0; i < trailers.field_count && used > 0; i++) {
        const Http1Field& field = trailers.fields[i];
        Expect(size_t{field.value.at} + field.value.length + 4 <= used, "a trailer lies in its section");
      }
    }
    Expect(used <= left, "what is used has come");
    Expect(end_.refusal == Http1Refusal::kNone || used == 0, "a refusal uses nothing");
    at_ += used;
    end_.at = at_;
    return end_.refusal == Http1Refusal::kNone && !end_.done;
  }

  State state_ = State::kLine;
  uint64_t left_ = 0;
  size_t at_ = 0;
  End end_;
};

End ReadInPieces(const uint8_t* bytes, size_t length, size_t piece) {
  Body body;
  for (size_t come = std::min(piece, length);; come = std::min(come + piece, length)) {
    // A copy of its own size, so that AddressSanitizer sees a byte that is read behind it.
    const std::unique_ptr<uint8_t[]> copy(new uint8_t[come]);
    memcpy(copy.get(), bytes, come);
    if (!body.Read(copy.get(), come) || come == length) return body.end();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const End whole = ReadInPieces(data + 1, size - 1, size);
  const End pieces = ReadInPieces(data + 1, size - 1, 1 + data[0]);
  Expect(whole.refusal == pieces.refusal, "pieces change no refusal");
  Expect(whole.at == pieces.at && whole.done == pieces.done, "a body ends at the same byte");
  return 0;
}
