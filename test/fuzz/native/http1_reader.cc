// tests · heads, bodies, chunk lines and trailers from stdin, what C++ reads in them to stdout: test/http/read-native.ts speaks with it. An
// input is a letter, its length (4 bytes, little endian) and its bytes; the answer is a line.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "engine/http/http1_body.h"
#include "engine/http/http1_chunk.h"
#include "engine/http/http1_head.h"
#include "engine/http/http1_write.h"
#include "http1_talk.h"

namespace {

using namespace orlop;

void PrintFields(const Http1Field* fields, int count) {
  for (int i = 0; i < count; i++) {
    const auto& [name, value, known, named] = fields[i];
    printf(" %d,%d,%d,%d,%d,%d", name.at, name.length, value.at, value.length, static_cast<int>(known),
           static_cast<int>(named));
  }
}

void PrintSpan(Http1Span span) {
  printf(" %d,%d", span.at, span.length);
}

void PrintHead(const Http1Head& head) {
  printf("head");
  for (const Http1Span span : {head.method, head.target, head.path, head.authority}) PrintSpan(span);
  printf(" %d %d %d %llu %d%d%d%d%d", head.status, head.minor, static_cast<int>(head.framing),
         static_cast<unsigned long long>(head.content_length), head.persistent, head.expects_continue,
         head.accepts_trailers, head.upgrades_websocket, head.upgrades_other);
  PrintFields(head.fields, head.field_count);
  printf("\n");
}

void PrintRefusal(Http1Refusal refusal) {
  printf("%s %d\n", NameOf(refusal), StatusOf(refusal));
}

void PrintChunkLine(const std::vector<uint8_t>& bytes) {
  Http1ChunkLine line;
  const Http1Refusal refusal = ReadChunkLine(bytes.data(), bytes.size(), &line);
  if (refusal != Http1Refusal::kNone) return PrintRefusal(refusal);
  printf("chunk %llu %d %d\n", static_cast<unsigned long long>(line.size), line.used, line.extensions);
}

void PrintChunkEnd(const std::vector<uint8_t>& bytes) {
  uint16_t used = 0;
  const Http1Refusal refusal = ReadChunkEnd(bytes.data(), bytes.size(), &used);
  if (refusal != Http1Refusal::kNone) return PrintRefusal(refusal);
  printf("end %d\n", used);
}

void PrintTrailers(const std::vector<uint8_t>& bytes) {
  Http1TrailerSection trailers;
  memset(&trailers, 0xa5, sizeof trailers);
  const Http1Refusal refusal = ReadTrailers(bytes.data(), bytes.size(), &trailers);
  if (refusal != Http1Refusal::kNone) return PrintRefusal(refusal);
  printf("trailers %d", trailers.used);
  PrintFields(trailers.fields, trailers.field_count);
  printf("\n");
}

uint64_t NumberAt(const std::vector<uint8_t>& bytes, size_t at, int size) {
  uint64_t number = 0;
  for (int i = size; i > 0; i--) number = number << 8 | bytes.at(at + static_cast<size_t>(i) - 1);
  return number;
}

// What was read of a body in pieces: how it ended, the bytes of the message, the payload and the trailers.
void PrintBody(const std::vector<uint8_t>& question) {
  Http1Head head;
  head.framing = static_cast<Http1Framing>(question.at(0));
  const bool closes = question.at(1) == 1;
  head.content_length = NumberAt(question, 2, 8);
  const size_t pieces = NumberAt(question, 10, 2);
  const size_t begin = 12 + 2 * pieces;
  Http1Body body(head);
  Http1TrailerSection trailers;
  memset(&trailers, 0xa5, sizeof trailers);
  Http1BodyStep step{Http1BodyEvent::kWait, Http1Refusal::kNone, 0, 0};
  size_t used = 0, come = 0;
  std::string payload, fields;
  for (size_t piece = 0; piece <= pieces && step.event == Http1BodyEvent::kWait; piece++) {
    // The last call gives nothing new: it must say no more than the call before.
    if (piece < pieces) come += NumberAt(question, 12 + 2 * piece, 2);
    const std::vector<uint8_t> bytes(question.begin() + static_cast<long>(begin + used),
                                     question.begin() + static_cast<long>(begin + come));
    size_t at = 0;
    do {
      const std::vector<uint8_t> rest(bytes.begin() + static_cast<long>(at), bytes.end());
      step = body.Read(rest.data(), rest.size(), &trailers);
      at += step.used;
      if (step.event != Http1BodyEvent::kPayload) continue;
      payload.append(rest.begin() + static_cast<long>(step.at), rest.begin() + static_cast<long>(step.used));
    } while (step.event == Http1BodyEvent::kPayload);
    used += at;
  }
  const Http1Refusal closed = closes ? body.Close() : Http1Refusal::kNone;
  const bool ended = body.ended();
  const Http1Refusal refusal = step.event == Http1BodyEvent::kRefused ? step.refusal : closed;
  printf("body %s %zu ", refusal != Http1Refusal::kNone ? NameOf(refusal) : ended ? "end" : "wait", used);
  for (const char byte : payload) printf("%02x", static_cast<uint8_t>(byte));
  if (step.event == Http1BodyEvent::kEnd) PrintFields(trailers.fields, trailers.field_count);
  printf("\n");
}

void PrintWritten(const std::vector<uint8_t>& bytes) {
  printf("written ");
  for (const uint8_t byte : bytes) printf("%02x", byte);
  printf("\n");
}

// Parts of a question, one behind the other.
struct Parts {
  const std::vector<uint8_t>& bytes;
  size_t at = 0;

  uint64_t Number(int size) {
    at += static_cast<size_t>(size);
    return NumberAt(bytes, at - static_cast<size_t>(size), size);
  }
  // A length of two bytes, and the text; 65535 for a text that is not there.
  std::string_view Text() {
    const size_t length = Number(2);
    if (length == 0xffff) return {};
    at += length;
    return {reinterpret_cast<const char*>(bytes.data()) + at - length, length};
  }
};

// A head as it is written with an edit, into room that is just enough.
void PrintHeadWritten(const std::vector<uint8_t>& question) {
  Parts parts{question};
  const uint64_t kind = parts.Number(1);
  const bool unchanged = parts.Number(1) == 1;
  Http1Edit edit = {};
  edit.framing = static_cast<Http1Framing>(parts.Number(1));
  edit.content_length = parts.Number(8);
  edit.minor = static_cast<uint8_t>(parts.Number(1));
  edit.connection = static_cast<Http1Option>(parts.Number(1));
  edit.websocket = parts.Number(1) == 1;
  edit.trailers = parts.Number(1) == 1;
  const uint64_t fields = parts.Number(1);
  edit.without_envoys = (fields & 1) != 0;
  edit.keep_alive = (fields & 2) != 0;
  edit.path = parts.Text();
  std::vector<Http1Pair> pairs(parts.Number(1));
  for (Http1Pair& pair : pairs) pair = {parts.Text(), parts.Text()};
  edit.pairs = pairs.data();
  edit.pair_count = pairs.size();
  const std::vector<uint8_t> bytes(question.begin() + static_cast<long>(parts.at), question.end());
  Http1Head head;
  memset(&head, 0xa5, sizeof head);
  const Http1Refusal refusal = kind == 0 ? ReadRequestHead(bytes.data(), bytes.size(), &head)
                                         : ReadResponseHead(bytes.data(), bytes.size(), kind == 2, &head);
  if (refusal != Http1Refusal::kNone) return PrintRefusal(refusal);
  if (unchanged) edit = UnchangedEdit(head);
  const auto write = kind == 0 ? WriteRequestHead : WriteResponseHead;
  std::vector<uint8_t> room(Http1HeadRoom(bytes.size(), edit));
  room.resize(write(bytes.data(), head, edit, room.data(), room.size()));
  std::vector<uint8_t> exact(room.size());
  const size_t again = write(bytes.data(), head, edit, exact.data(), exact.size());
  std::vector<uint8_t> small(room.empty() ? 0 : room.size() - 1);
  const size_t less = write(bytes.data(), head, edit, small.data(), small.size());
  if (again != room.size() || less != 0 || exact != room) {
    printf("another room, another head\n");
  } else {
    PrintWritten(room);
  }
}

// A number of data bytes: the chunk line. Nothing: the last chunk, with the trailers that were read.
void PrintChunkWritten(const std::vector<uint8_t>& question) {
  const uint64_t size = NumberAt(question, 0, 8);
  std::vector<uint8_t> room(size > 0 ? kHttp1ChunkLineRoom : kHttp1LastChunkRoom);
  if (size > 0) {
    room.resize(WriteChunkLine(size, room.data()));
    return PrintWritten(room);
  }
  const std::vector<uint8_t> section(question.begin() + 8, question.end());
  Http1TrailerSection trailers;
  const Http1Refusal refusal = ReadTrailers(section.data(), section.size(), &trailers);
  if (refusal != Http1Refusal::kNone) return PrintRefusal(refusal);
  room.resize(WriteLastChunk(section.data(), &trailers, room.data(), room.size()));
  PrintWritten(room);
}

// An answer of ours.
void PrintReply(const std::vector<uint8_t>& question) {
  Parts parts{question};
  Http1Reply reply = {};
  reply.status = static_cast<uint16_t>(parts.Number(2));
  reply.connection = static_cast<Http1Option>(parts.Number(1));
  reply.to_head = parts.Number(1) == 1;
  const Http1Pair pair = {parts.Text(), parts.Text()};
  reply.pairs = &pair;
  reply.pair_count = 1;
  reply.body = parts.Text();
  std::vector<uint8_t> room(512);
  room.resize(WriteReply(reply, room.data(), room.size()));
  PrintWritten(room);
}

// What a client and a server say to each other through an exchange.
void PrintTalk(const std::vector<uint8_t>& question) {
  Parts parts{question};
  Talk talk;
  talk.seed = static_cast<uint32_t>(parts.Number(4));
  talk.client_ends = parts.Number(1) == 1;
  talk.verdicts = parts.Text();
  talk.client = parts.Text();
  talk.answers.resize(parts.Number(1));
  for (Talk::Answer& answer : talk.answers) {
    const uint64_t how = parts.Number(1);
    answer.ends = (how & 1) != 0;
    answer.early = (how & 2) != 0;
    answer.text = parts.Text();
  }
  const Heard heard = HoldTalk(talk);
  printf("%s ", heard.end.c_str());
  for (const char byte : heard.by_server) printf("%02x", static_cast<uint8_t>(byte));
  printf(" ");
  for (const char byte : heard.by_client) printf("%02x", static_cast<uint8_t>(byte));
  printf("\n");
}

// A copy of its own size, so that AddressSanitizer sees a byte that is read behind it.
std::vector<uint8_t> Exactly(const std::string& text) {
  return std::vector<uint8_t>(text.begin(), text.end());
}

// False: no such letter.
bool Answer(char kind, const std::vector<uint8_t>& bytes) {
  if (kind == 'e') printf("%zu\n", Http1HeadEnd(bytes.data(), bytes.size(), 0));
  if (kind == 'c') PrintChunkLine(bytes);
  if (kind == 'd') PrintChunkEnd(bytes);
  if (kind == 't') PrintTrailers(bytes);
  if (kind == 'b') PrintBody(bytes);
  if (kind == 'w') PrintHeadWritten(bytes);
  if (kind == 'x') PrintChunkWritten(bytes);
  if (kind == 'r') PrintReply(bytes);
  if (kind == 'k') PrintTalk(bytes);
  if (strchr("ecdtbwxrk", kind) != nullptr) return true;
  if (kind != 'q' && kind != 'p' && kind != 'h') return false;
  Http1Head head;
  // What was there before must not show.
  memset(&head, 0xa5, sizeof head);
  const Http1Refusal refusal = kind == 'q' ? ReadRequestHead(bytes.data(), bytes.size(), &head)
                                           : ReadResponseHead(bytes.data(), bytes.size(), kind == 'h', &head);
  if (refusal == Http1Refusal::kNone) {
    PrintHead(head);
  } else {
    PrintRefusal(refusal);
  }
  return true;
}

}  // namespace

int main() {
  for (;;) {
    const int kind = getchar();
    if (kind == EOF) return 0;
    uint8_t size[4];
    if (fread(size, 1, 4, stdin) != 4) return 2;
    std::string text(size[0] | size[1] << 8 | size[2] << 16 | size_t{size[3]} << 24, '\0');
    if (fread(text.data(), 1, text.size(), stdin) != text.size()) return 2;
    if (!Answer(static_cast<char>(kind), Exactly(text))) return 3;
  }
}
