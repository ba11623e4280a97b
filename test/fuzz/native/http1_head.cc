// fuzz · http1_head.cc: whatever a pod or a server may send as a head. The first byte of the input says of what kind. What is
// accepted has all its parts inside the bytes, ends at its first empty line, and says the same when it is written anew.
#include "engine/http/http1_head.h"

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

Http1Refusal Read(uint8_t kind, const std::string& bytes, Http1Head* head) {
  // A copy of its own size, so that AddressSanitizer sees a byte that is read behind it.
  const std::unique_ptr<uint8_t[]> copy(new uint8_t[bytes.size()]);
  memcpy(copy.get(), bytes.data(), bytes.size());
  memset(static_cast<void*>(head), 0xa5, sizeof *head);
  return kind == 0 ? ReadRequestHead(copy.get(), bytes.size(), head)
                   : ReadResponseHead(copy.get(), bytes.size(), kind == 1, head);
}

std::string Part(const std::string& bytes, Http1Span span) {
  Expect(size_t{span.at} + span.length <= bytes.size(), "a part lies in the bytes");
  return bytes.substr(span.at, span.length);
}

std::string Written(const std::string& bytes, const Http1Head& head) {
  const std::string version = head.minor == 0 ? "HTTP/1.0" : "HTTP/1.1";
  std::string text = head.status == 0
                         ? Part(bytes, head.method) + " " + Part(bytes, head.target) + " " + version
                         : version + " " + std::to_string(head.status) + " ";
  for (int i = 0; i < head.field_count; i++) {
    text += "\r\n" + Part(bytes, head.fields[i].name) + ": " + Part(bytes, head.fields[i].value);
  }
  return text + "\r\n\r\n";
}

// What the reader found in a head, as text, so that two heads can be compared.
std::string Meaning(const std::string& bytes, const Http1Head& head) {
  std::string text = Written(bytes, head) + Part(bytes, head.path) + " " + Part(bytes, head.authority);
  for (const uint64_t value :
       {uint64_t{head.minor}, static_cast<uint64_t>(head.framing), head.content_length,
        uint64_t{head.persistent}, uint64_t{head.expects_continue}, uint64_t{head.accepts_trailers},
        uint64_t{head.upgrades_websocket}, uint64_t{head.upgrades_other}}) {
    text += " " + std::to_string(value);
  }
  for (int i = 0; i < head.field_count; i++) {
    text += " " + std::to_string(static_cast<int>(head.fields[i].known)) +
            std::to_string(head.fields[i].named_by_connection);
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const uint8_t kind = data[0] % 3;
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  Http1Head head;
  const Http1Refusal refusal = Read(kind, bytes, &head);
  Expect(strlen(NameOf(refusal)) > 0 && (refusal == Http1Refusal::kNone) == (StatusOf(refusal) == 0),
         "a refusal has a name and a status");
  if (refusal != Http1Refusal::kNone) return 0;

  const auto* const text = reinterpret_cast<const uint8_t*>(bytes.data());
  for (size_t scanned = 0; scanned < bytes.size(); scanned += 1 + scanned / 4) {
    Expect(Http1HeadEnd(text, bytes.size(), scanned) == bytes.size(), "a head ends at its first empty line");
    Expect(Http1HeadEnd(text, scanned, 0) == 0, "a head does not end before");
  }
  const std::string written = Written(bytes, head);
  if (written.size() > kHttp1HeadBytes) return 0;
  Http1Head again;
  Expect(Read(kind, written, &again) == Http1Refusal::kNone, "what is written anew is accepted");
  Expect(Meaning(bytes, head) == Meaning(written, again), "what is written anew says the same");
  return 0;
}
