// tests · the caller that http1_exchange.h asks for, as simple as it can be.
#include "http1_talk.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "engine/http/http1_exchange.h"

namespace {

using namespace orlop;

void Expect(bool holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "fuzz: %s\n", what);
  abort();
}

// What one side says: so much of it has come, so much is used.
struct Side {
  std::string text;
  bool ends = false;
  size_t come = 0, used = 0;
  bool done = false;  // its end was passed on

  bool ended() const { return ends && come == text.size(); }
};

class Conversation {
 public:
  explicit Conversation(const Talk& talk) : talk_(talk), random_(talk.seed) {
    client_.text = talk.client;
    client_.ends = talk.client_ends;
  }

  Heard Hold() {
    for (;;) {
      bool moved = false;
      while (!over_ && Go(true)) moved = true;
      while (!over_ && !closed_ && Go(false)) moved = true;
      if (over_ || (!moved && !More())) return heard_;
    }
  }

 private:
  // A step of one side. False when it cannot go on.
  bool Go(bool from_client) {
    Side& side = from_client ? client_ : server_;
    if (side.done) return false;
    const size_t length = side.come - side.used;
    // A copy of its own size, so that AddressSanitizer sees a byte that is read behind it.
    const std::unique_ptr<uint8_t[]> bytes(new uint8_t[length]);
    memcpy(bytes.get(), side.text.data() + side.used, length);
    Http1TrailerSection trailers;
    const Http1Step step = from_client
                               ? exchange_.FromClient(bytes.get(), length, side.ended(), &head_, &trailers)
                               : exchange_.FromServer(bytes.get(), length, side.ended(), &head_, &trailers);
    Expect(step.at <= step.used && step.used <= length, "what is used has come");
    Expect(length - step.used <= kHttp1HeadBytes || (step.what != Http1Do::kWait), "what waits is bounded");
    side.used += step.used;
    std::string& heard = from_client ? heard_.by_server : heard_.by_client;
    switch (step.what) {
      case Http1Do::kWait:
      case Http1Do::kHold:
        Expect(step.used == 0, "waiting uses nothing");
        return false;
      case Http1Do::kJudge:
        Judge(bytes.get(), step.used);
        return true;
      case Http1Do::kHead:
        Write(bytes.get(), step, &heard);
        return true;
      case Http1Do::kPayload:
        Expect(step.at < step.used, "payload has bytes");
        heard.append(reinterpret_cast<const char*>(bytes.get()) + step.at, step.used - step.at);
        return true;
      case Http1Do::kEnd:
        End(from_client, bytes.get() + step.at, trailers, step);
        return true;
      case Http1Do::kDiscard:
        Expect(step.used > 0, "something is dropped");
        return true;
      case Http1Do::kReply:
        Expect(step.status >= 400 && step.closes && !closed_, "an answer of ours ends the connection");
        heard_.by_client += std::to_string(step.status) + " " + NameOf(step.refusal) + "|";
        Close();
        return true;
      case Http1Do::kFinish:
        over_ = true;
        if (!closed_) heard_.end = "finish";
        return false;
      case Http1Do::kAbort:
        over_ = true;
        heard_.end = "abort";
        return false;
      case Http1Do::kLost:
        Expect(false, "server and client belong together");
        return false;
    }
    return false;
  }

  void Judge(const uint8_t* bytes, size_t length) {
    if (judged_ < talk_.verdicts.size() && talk_.verdicts[judged_++] == '1') {
      const Http1Edit edit = exchange_.Forward(head_);
      std::string room(Http1HeadRoom(length, edit), '\0');
      room.resize(WriteRequestHead(bytes, head_, edit, reinterpret_cast<uint8_t*>(&room[0]), room.size()));
      Expect(!room.empty(), "a request can be written");
      heard_.by_server += room;
      requests_++;
      Answer(true);
      return;
    }
    const Http1Refused refused = exchange_.Refuse(head_);
    Expect(refused.closes == (refused.connection == Http1Option::kClose), "what ends says so");
    heard_.by_client += refused.closes ? "refused, closes|" : "refused|";
    if (refused.closes) Close();
  }

  void Write(const uint8_t* bytes, const Http1Step& step, std::string* heard) {
    std::string room(Http1HeadRoom(step.used, step.edit), '\0');
    room.resize(
        WriteResponseHead(bytes, head_, step.edit, reinterpret_cast<uint8_t*>(&room[0]), room.size()));
    Expect(!room.empty(), "a response can be written");
    *heard += room;
    opaque_ = opaque_ || step.opaque;
  }

  void End(bool from_client, const uint8_t* section, const Http1TrailerSection& trailers,
           const Http1Step& step) {
    std::string& heard = from_client ? heard_.by_server : heard_.by_client;
    if (opaque_) {
      (from_client ? client_ : server_).done = true;
    } else {
      for (int i = 0; i < trailers.field_count; i++) {
        const Http1Span name = trailers.fields[i].name;
        heard += "+" + std::string(reinterpret_cast<const char*>(section) + name.at, name.length);
      }
      if (from_client) Answer(false);
    }
    heard += "|";
    if (step.closes) Close();
  }

  // The server answers the last request, at its head or at its end.
  void Answer(bool early) {
    if (requests_ > talk_.answers.size() || talk_.answers[requests_ - 1].early != early) return;
    server_.text += talk_.answers[requests_ - 1].text;
    server_.ends = talk_.answers[requests_ - 1].ends;
  }

  void Close() {
    Expect(!closed_, "a connection is closed once");
    closed_ = true;
    heard_.end = "closes";
  }

  // More bytes of a side. False when all have come.
  bool More() {
    const size_t client = client_.text.size() - client_.come, server = server_.text.size() - server_.come;
    if (client + server == 0) return false;
    random_ = random_ * 1664525 + 1013904223;
    const size_t most = (random_ >> 8 & 3) == 0 ? 1 : size_t{1} << (random_ >> 10 & 15);
    Side& side = server == 0 || (client > 0 && (random_ >> 20 & 1) == 0) ? client_ : server_;
    const size_t left = side.text.size() - side.come;
    side.come += left < most ? left : most;
    return true;
  }

  const Talk& talk_;
  uint32_t random_;
  Http1Exchange exchange_;
  Http1Head head_;
  Side client_, server_;
  Heard heard_;
  size_t judged_ = 0, requests_ = 0;
  bool opaque_ = false, closed_ = false, over_ = false;
};

}  // namespace

Heard HoldTalk(const Talk& talk) {
  return Conversation(talk).Hold();
}
