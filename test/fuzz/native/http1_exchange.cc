// fuzz · http1_exchange.cc: a client and a server talk. The input's first byte says which requests are forwarded, the second who ends
// a connection, the third how many bytes are the client's, in units of 16; the rest is the server's, said when a request has ended.
// Each step keeps what its header says (http1_talk.cc); both hear the same in whatever pieces it comes.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "http1_talk.h"

namespace {

void Expect(bool holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "fuzz: %s\n", what);
  abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  Talk talk;
  for (int bit = 0; bit < 8; bit++) talk.verdicts += (data[0] >> bit & 1) != 0 ? '0' : '1';
  talk.client_ends = (data[1] & 1) != 0;
  const size_t client = size - 3 < size_t{16} * data[2] ? size - 3 : size_t{16} * data[2];
  const char* const text = reinterpret_cast<const char*>(data) + 3;
  talk.client.assign(text, client);
  talk.answers.resize(1);
  talk.answers[0] = {std::string(text + client, size - 3 - client), (data[1] & 2) != 0, (data[1] & 4) != 0};
  const Heard first = HoldTalk(talk);
  talk.seed = 0x9e3779b9u * data[1] + 1;
  const Heard second = HoldTalk(talk);
  // Which of two faults is met first depends on what comes first, also of an early answer and the body that it did not wait for.
  const bool ordered = first.end == second.end && first.end != "abort" && first.end != "finish";
  if (ordered && !talk.answers[0].early) {
    Expect(first.by_server == second.by_server, "the server hears the same");
    Expect(first.by_client == second.by_client, "the client hears the same");
  }
  return 0;
}
