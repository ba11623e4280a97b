// fuzz · http1_body.cc: a body as it comes, in pieces of any size. The first byte of the input says how the body is framed, the
// second how large the pieces are, the third is its length where it has a length. In whatever pieces it comes, the body has the same
// payload and the same end, or the same refusal.
#include "engine/http/http1_body.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

namespace {

using namespace orlop;

void Expect(bool holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "fuzz: %s\n", what);
  abort();
}

struct Whole {
  std::string payload;
  size_t used = 0;
  Http1BodyEvent event = Http1BodyEvent::kWait;
  Http1Refusal refusal = Http1Refusal::kNone;
  Http1Refusal closed = Http1Refusal::kNone;
};

// One call of Read, and what holds of each.
Http1BodyStep Read(Http1Body* body, const uint8_t* bytes, size_t length) {
  // A copy of its own size, so that AddressSanitizer sees a byte that is read behind it.
  const std::unique_ptr<uint8_t[]> copy(new uint8_t[length]);
  memcpy(copy.get(), bytes, length);
  Http1TrailerSection trailers;
  const Http1BodyStep step = body->Read(copy.get(), length, &trailers);
  Expect(step.at <= step.used && step.used <= length, "what is used has come");
  Expect((step.event == Http1BodyEvent::kRefused) == (step.refusal != Http1Refusal::kNone),
         "a refusal has a name");
  Expect((step.event == Http1BodyEvent::kEnd) == body->ended() || step.event == Http1BodyEvent::kPayload,
         "an end is an end");
  if (step.event == Http1BodyEvent::kPayload) Expect(step.at < step.used, "payload has bytes");
  if (step.event == Http1BodyEvent::kWait) {
    Expect(length - step.used < kHttp1BodyUnused, "what waits is less than what a caller can keep");
  }
  if (step.event != Http1BodyEvent::kEnd) return step;
  for (int i = 0; i < trailers.field_count; i++) {
    const Http1Span value = trailers.fields[i].value;
    Expect(step.at + value.at + value.length + 4 <= step.used, "a trailer lies in its section");
  }
  return step;
}

Whole ReadInPieces(const Http1Head& head, const uint8_t* bytes, size_t length, size_t piece) {
  Http1Body body(head);
  Whole whole;
  size_t come = 0;
  do {
    come = length - come < piece ? length : come + piece;
    do {
      const Http1BodyStep step = Read(&body, bytes + whole.used, come - whole.used);
      if (step.event == Http1BodyEvent::kPayload) {
        whole.payload.append(reinterpret_cast<const char*>(bytes) + whole.used + step.at,
                             step.used - step.at);
      }
      whole.used += step.used;
      whole.event = step.event;
      whole.refusal = step.refusal;
    } while (whole.event == Http1BodyEvent::kPayload);
  } while (whole.event == Http1BodyEvent::kWait && come < length);
  const Http1BodyStep again = Read(&body, bytes + whole.used, come - whole.used);
  Expect(again.event == whole.event && again.used == 0, "the same bytes say the same again");
  whole.closed = body.Close();
  return whole;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  Http1Head head;
  head.framing = static_cast<Http1Framing>(data[0] % 4);
  head.content_length = data[2];
  const Whole whole = ReadInPieces(head, data + 3, size - 3, size);
  const Whole pieces = ReadInPieces(head, data + 3, size - 3, size_t{1} + data[1]);
  Expect(whole.event == pieces.event && whole.refusal == pieces.refusal, "pieces change no outcome");
  Expect(whole.used == pieces.used, "a body ends at the same byte");
  Expect(whole.payload == pieces.payload, "pieces change no payload");
  Expect(whole.closed == pieces.closed, "pieces change no end by the connection");
  if (head.framing == Http1Framing::kLength) {
    Expect(whole.used <= head.content_length, "a body goes no further than its length");
  }
  return 0;
}
