// fuzz · http1_write.cc: heads that are accepted, written anew. The first byte of the input says of what kind the head is, the second
// how it is written. What is written is accepted again, is framed as we said, has no field of one connection but those that we
// write, and is written the same a second time.
#include "engine/http/http1_write.h"

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
  return kind == 0 ? ReadRequestHead(copy.get(), bytes.size(), head)
                   : ReadResponseHead(copy.get(), bytes.size(), kind == 1, head);
}

std::string Write(const std::string& bytes, const Http1Head& head, const Http1Edit& edit) {
  const size_t room = Http1HeadRoom(bytes.size(), edit);
  const std::unique_ptr<uint8_t[]> to(new uint8_t[room]);
  const auto write = head.status == 0 ? WriteRequestHead : WriteResponseHead;
  const size_t used = write(reinterpret_cast<const uint8_t*>(bytes.data()), head, edit, to.get(), room);
  Expect(used > 0, "the room is enough");
  return std::string(reinterpret_cast<const char*>(to.get()), used);
}

int Count(const Http1Head& head, Http1Name known) {
  int count = 0;
  for (int i = 0; i < head.field_count; i++) count += head.fields[i].known == known ? 1 : 0;
  return count;
}

void ExpectClean(const Http1Head& head) {
  for (const Http1Name name :
       {Http1Name::kHttp2Settings, Http1Name::kKeepAlive, Http1Name::kProxyConnection}) {
    Expect(Count(head, name) == 0, "fields of one connection stay behind");
  }
  for (const Http1Name name : {Http1Name::kConnection, Http1Name::kUpgrade, Http1Name::kTe}) {
    Expect(Count(head, name) <= 1, "what we write, we write once");
  }
  Expect(Count(head, Http1Name::kContentLength) + Count(head, Http1Name::kTransferEncoding) <= 1,
         "framing is said once");
  Expect(head.status != 0 || Count(head, Http1Name::kOrlop) == 0, "a request says nothing in our name");
  Expect(!head.upgrades_other, "no other protocol is offered");
}

// Another framing of the same body, where there is a body and the version allows it.
void Reframe(uint8_t how, const Http1Head& head, Http1Edit* edit) {
  const bool has_body =
      head.framing != Http1Framing::kNone && (head.status == 0 || head.status >= 200) && head.status != 204;
  if (!has_body || (head.status == 0 && head.minor == 0)) return;
  if (how == 1) edit->framing = Http1Framing::kChunked;
  if (how == 2 && head.status != 0) edit->framing = Http1Framing::kUntilClose;
  if (how == 3) {
    edit->framing = Http1Framing::kLength;
    edit->content_length = 77;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const uint8_t kind = data[0] % 3, how = data[1];
  const std::string bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  Http1Head head;
  if (Read(kind, bytes, &head) != Http1Refusal::kNone) return 0;
  Http1Edit edit = UnchangedEdit(head);
  Reframe(how & 3, head, &edit);
  if ((how & 4) != 0) edit.connection = Http1Option::kClose;
  edit.without_envoys = (how & 8) != 0;
  const std::string written = Write(bytes, head, edit);
  Http1Head again;
  const Http1Refusal refusal = Read(kind, written, &again);
  // What we add may make it larger than a reader takes.
  if (refusal == Http1Refusal::kHeadTooLarge || refusal == Http1Refusal::kTooManyFields) return 0;
  Expect(refusal == Http1Refusal::kNone, "what is written is accepted");
  ExpectClean(again);
  Expect(again.framing == edit.framing, "the framing is ours");
  if (edit.framing == Http1Framing::kLength) {
    Expect(again.content_length == edit.content_length, "so is the length");
  }
  if (edit.connection == Http1Option::kClose) Expect(!again.persistent, "what ends says so");
  Expect(again.status == head.status, "the status is the same");
  Expect(again.upgrades_websocket == head.upgrades_websocket, "websocket passes");
  Expect(Write(written, again, UnchangedEdit(again)) == written, "it is written the same again");
  return 0;
}
