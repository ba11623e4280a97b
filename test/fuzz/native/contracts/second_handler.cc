// fuzz · the HTTP/2 session with a handler that is not HBONE: a small HTTP server that answers GET and echoes POST, and its client;
// how its input is cut into turns, and whose budgets are remembered.
// `second-handler [seed] [rounds]`.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <vector>

#include "engine/http2/frame_cutter.h"
#include "engine/tunnel/peer_budgets.h"
#include "link.h"

namespace orlop::contracts {
namespace {

const H2Options kServer = SmallOptions(Role::kServer);
const H2Options kClient = SmallOptions(Role::kClient);

// A request or a response, with its body.
class Message : public H2Stream {
 public:
  explicit Message(Random& random) : random_(random) {}
  virtual ~Message() = default;
  void OnField(std::string_view name, std::string_view value) override { fields[std::string(name)] = value; }
  void OnHead(bool) override { head_complete = true; }
  void OnData(const uint8_t* bytes, size_t length) override {
    body.append(reinterpret_cast<const char*>(bytes), length);
    session()->Consumed(this, length);
  }
  void OnDataDone() override {}
  void OnEnd() override { ended = true; }
  ssize_t OnRead(const Pieces& into) override {
    const iovec all{to_say.data(), std::min(to_say.size(), 1 + Below(random_, 30'000))};
    const size_t part = CopyPieces({&all, 1, all.iov_len}, into);
    to_say.erase(0, part);
    if (part > 0) session()->Ready(this);
    return static_cast<ssize_t>(part);
  }
  void OnClosed(uint32_t with) override {
    closed = true;
    code = with;
    session()->Forget(this);
  }
  void OnLost(CloseCause, int, std::string_view) override { lost = true; }

  std::map<std::string, std::string> fields;
  std::string body, to_say;
  bool head_complete = false, ended = false, closed = false, lost = false;
  uint32_t code = 0;

 private:
  Random& random_;
};

class Request final : public Message {
 public:
  using Message::Message;
  void OnEnd() override {
    Message::OnEnd();
    const bool post = fields[":method"] == "POST";
    to_say = post ? body : "hello, " + fields[":path"];
    const std::array<H2Field, 2> head{{{":status", "200"}, {"content-type", "text/plain"}}};
    session()->Respond(this, head.data(), head.size(), true);
    session()->Wake(this);
  }
};

class HttpServer final : public Side {
 public:
  explicit HttpServer(const World& world, Random& random) : Side(world, kServer), random_(random) {}
  ~HttpServer() { session.LoseStreams(CloseCause::kDrained, 0, "over"); }
  H2Stream* OnRequest() override {
    if (refusing) return nullptr;
    return requests.emplace_back(std::make_unique<Request>(random_)).get();
  }
  bool refusing = false;
  std::vector<std::unique_ptr<Request>> requests;

 private:
  Random& random_;
};

struct HttpClient final : Side {
  explicit HttpClient(const World& world) : Side(world, kClient) {}
  ~HttpClient() { session.LoseStreams(CloseCause::kDrained, 0, "over"); }
};

bool Send(HttpClient& client, Message& message, const char* method, const std::string& path) {
  const std::array<H2Field, 4> head{
      {{":method", method}, {":scheme", "http"}, {":authority", "shop"}, {":path", path}}};
  if (!client.session.Request(&message, head.data(), head.size(), H2Session::Body::kNow)) return false;
  client.session.Wake(&message);
  return true;
}

void AnswersAll(Random& random) {
  World world;
  HttpServer server(world, random);
  HttpClient client(world);
  Expect(Exchange(client, server, random), "two sessions that agree");
  std::vector<std::unique_ptr<Message>> calls;
  std::vector<std::string> expected;
  const size_t count = 1 + Below(random, 8);
  for (size_t i = 0; i < count; i++) {
    auto& call = *calls.emplace_back(std::make_unique<Message>(random));
    const bool post = random() % 2 == 0;
    if (post) call.to_say = SomeBytes(random, Below(random, 300'000));
    const std::string path = "/" + std::to_string(i);
    expected.push_back(post ? call.to_say : "hello, " + path);
    Expect(Send(client, call, post ? "POST" : "GET", path), "room for a request");
  }
  Expect(client.session.streams() == count, "streams to be counted");
  Expect(Exchange(client, server, random), "two sessions that agree");
  Expect(client.session.Limit() == 8, "our own limit");
  for (size_t i = 0; i < count; i++) {
    Message& call = *calls[i];
    Expect(call.fields[":status"] == "200" && call.fields["content-type"] == "text/plain", "the head");
    Expect(call.ended && call.closed && call.code == 0, "a call to end in order");
    Expect(call.body == expected[i], "the body");
  }
  Expect(client.session.streams() == 0 && server.session.streams() == 0, "no stream to be left");
  Expect(client.gone == static_cast<int>(count), "the handler to hear of every stream that went");
}

void RefusesOne(Random& random) {
  World world;
  HttpServer server(world, random);
  HttpClient client(world);
  server.refusing = true;
  Message refused(random), answered(random);
  Expect(Send(client, refused, "GET", "/no"), "room for a request");
  Expect(Exchange(client, server, random), "two sessions that agree");
  Expect(refused.closed && refused.code == NGHTTP2_INTERNAL_ERROR && !refused.head_complete, "a refusal");
  server.refusing = false;
  Expect(Send(client, answered, "GET", "/yes") && Exchange(client, server, random) &&
             answered.body == "hello, /yes",
         "a refusal to cost its stream alone");
}

void ResetsOne(Random& random) {
  World world;
  HttpServer server(world, random);
  HttpClient client(world);
  Message left(random), kept(random);
  left.to_say = SomeBytes(random, 200'000);
  kept.to_say = SomeBytes(random, 200'000);
  const std::string expected = kept.to_say;
  Expect(Send(client, left, "POST", "/left") && Send(client, kept, "POST", "/kept"), "room for two");
  std::string frames;
  Expect(Produce(client, &frames), "frames");
  size_t used = 0;
  Expect(!frames.empty() &&
             server.session.Receive(reinterpret_cast<const uint8_t*>(frames.data()), frames.size(), &used) &&
             used == frames.size(),
         "the first frames");
  client.session.Reset(&left, NGHTTP2_CANCEL);
  client.session.Forget(&left);
  Expect(Exchange(client, server, random), "two sessions that agree");
  Expect(
      server.requests.size() == 2 && server.requests[0]->closed && server.requests[0]->code == NGHTTP2_CANCEL,
      "the server to hear of the reset");
  Expect(kept.ended && kept.body == expected, "the other stream to go on");
}

void LimitsHold(Random& random) {
  {
    World world;
    HttpServer server(world, random);
    HttpClient client(world);
    Message call(random);
    Expect(Send(client, call, "GET", "/" + std::string(9'000, 'x')), "room for a request");
    Expect(!Exchange(client, server, random), "too long a head to end the session");
    Expect(server.session.violation() == "too many header bytes", "the reason");
    client.session.LoseStreams(CloseCause::kProtocolError, 0, "over");
    Expect(call.lost && !call.closed, "the stream to be lost with its session");
  }
  {
    World world;
    HttpServer server(world, random);
    HttpClient client(world);
    for (int i = 0; i < 300; i++) client.session.Ping();
    Expect(!Exchange(client, server, random), "a flood of PING to slow the session");
    Expect(server.toll.nuisance() == "PING or SETTINGS flood", "the reason");
  }
  {
    World world;
    HttpServer server(world, random);
    HttpClient client(world);
    server.session.Goaway(NGHTTP2_NO_ERROR);
    Expect(Exchange(client, server, random), "two sessions that agree");
    Expect(client.goaway && client.session.Limit() == 0, "the handler to hear of GOAWAY");
  }
}

// A frame with what reading it costs (http2/frame_cutter.cc).
uint32_t AppendFrame(Random& random, std::string* to) {
  static constexpr struct {
    uint8_t type;
    uint32_t work;
  } kTypes[] = {{NGHTTP2_DATA, 1},
                {NGHTTP2_HEADERS, 16},
                {NGHTTP2_RST_STREAM, 8},
                {NGHTTP2_SETTINGS, 8},
                {NGHTTP2_PING, 1}};
  const auto& [type, work] = kTypes[Below(random, std::size(kTypes))];
  const size_t length = Below(random, 3) == 0 ? 0 : Below(random, 512);
  const char head[9] = {0, static_cast<char>(length >> 8), static_cast<char>(length),
                        static_cast<char>(type)};
  to->append(head, sizeof head);
  to->append(length, 'x');
  return work;
}

// However the bytes come and however often the turn's share is over: each byte once, and the same work.
void CutsAnywhere(Random& random) {
  std::string bytes(24, 'p');
  uint32_t expected = 0;
  for (int i = 0; i < 400; i++) {
    expected += AppendFrame(random, &bytes);
  }
  FrameCutter cutter;
  cutter.ExpectPreface();
  uint32_t work = 0;
  for (size_t at = 0; at < bytes.size();) {
    const size_t part = std::min(bytes.size() - at, 1 + Below(random, 3'000));
    const auto left = static_cast<uint32_t>(1 + Below(random, 512));
    const FrameCutter::Cut cut = cutter.Next(reinterpret_cast<const uint8_t*>(bytes.data()) + at, part, left);
    Expect(cut.length > 0 && cut.length <= part, "a cut within what is there");
    Expect(cut.work < left + 16, "a cut within the turn's share");
    work += cut.work;
    at += cut.length;
  }
  Expect(work == expected, "the work of all frames");
}

// Tokens that `identity` at the address has left for PING, at most 200.
int PingsLeft(PeerBudgets& budgets, int32_t identity, uint32_t address) {
  orlop_addr at{};
  memcpy(at.bytes, &address, sizeof address);
  const PeerBudgets::Share share = budgets.Use(identity, at);
  int left = 0;
  while (left < 200 && share->budget.control.TakeIf(1, 1)) left++;
  return left;
}

void BudgetsAreOfPeers(Random& random) {
  World world;
  PeerBudgets budgets(world.services().clock);
  const auto address = static_cast<uint32_t>(random());
  Expect(PingsLeft(budgets, 7, address) == 200, "a full budget at first");
  Expect(PingsLeft(budgets, 7, address) == 0, "what was used up to be remembered");
  Expect(PingsLeft(budgets, 8, address) == 200, "another identity to have its own");
  Expect(PingsLeft(budgets, 7, address + 1) == 200, "another address to have its own");
  Expect(PingsLeft(budgets, PeerBudgets::kNobody, address) == 200, "the address alone to have its own");
  for (uint32_t i = 2; i < PeerBudgets::kMostKept; i++) PingsLeft(budgets, 9, address + i);
  Expect(PingsLeft(budgets, PeerBudgets::kNobody, address) == 0, "as many to be kept as may be");
  for (uint32_t i = 0; i < PeerBudgets::kMostKept; i++) PingsLeft(budgets, 10, address + i);
  Expect(PingsLeft(budgets, 7, address) == 200, "no more to be kept than that");
}

}  // namespace
}  // namespace orlop::contracts

int main(int argc, char** argv) {
  using namespace orlop::contracts;
  const auto seed = static_cast<uint32_t>(argc > 1 ? atol(argv[1]) : 1);
  const int rounds = argc > 2 ? atoi(argv[2]) : 10;
  SetSeed(seed);
  Random random(seed);
  BudgetsAreOfPeers(random);
  for (int round = 0; round < rounds; round++) {
    CutsAnywhere(random);
    AnswersAll(random);
    RefusesOne(random);
    ResetsOne(random);
    LimitsHold(random);
  }
  printf("%d rounds\n", rounds);
  return 0;
}
