// fuzz · an end that is a CONNECT stream: the relay's side is the engine's ConnectStream, the far side another, played by the test.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/tunnel/connect_stream.h"
#include "far_end.h"
#include "link.h"

namespace orlop::contracts {
namespace {

const H2Options kServer = SmallOptions(Role::kServer);
const H2Options kClient = SmallOptions(Role::kClient);

// A stream with the side of the link that it is on.
class Holder final : public Side, public ConnectStream::Owner {
 public:
  Holder(World& world, bool server)
      : Side(world, server ? kServer : kClient), stream(world.services(), *this) {}
  ~Holder() { session.LoseStreams(CloseCause::kDrained, 0, "over"); }

  H2Stream* OnRequest() override {
    stream.Serve();
    return &stream;
  }
  void OnConnectRequest() override {
    Expect(stream.head->Acceptable(), "the request as it was sent");
    asked = true;
  }
  void OnConnectResponse() override { answered = stream.head->status == 200; }
  void OnMisuse(std::string_view) override { Wrong("a CONNECT as it should be"); }
  bool HasRoom() override { return true; }
  void OnNoRoom() override { Wrong("memory for what came"); }
  void OnStreamClosed(uint32_t) override { Wrong("a stream that lives"); }
  void OnHeavy() override {}
  void OnSessionLost(CloseCause, int, std::string_view) override {}

  ConnectStream stream;
  bool asked = false;
  bool answered = false;
};

class Stream final : public FarEnd, public ByteEnd::User {
 public:
  Stream(World& world, Random& random, bool server)
      : random_(random), near_(world, server), far_(world, !server), room_(1 + Below(random, 100'000)) {
    Holder& client = server ? far_ : near_;
    Holder& asked = server ? near_ : far_;
    client.stream.head = std::make_unique<ConnectHead>();
    client.stream.head->authority = "10.0.0.9:80";
    Expect(client.stream.Request(client.session), "room for a stream");
    Work();
    Expect(asked.asked, "the CONNECT to arrive");
    asked.stream.Respond(200, "");
    Work();
    Expect(client.answered, "the answer to arrive");
    client.stream.StartData();
    far_.stream.Start(*this);
  }
  ~Stream() override {
    far_.stream.GiveBack();
    near_.stream.GiveBack();
  }

  ByteEnd& Near(ByteEnd::User& user) override {
    near_.stream.Start(user);
    return near_.stream;
  }
  size_t Say(const char* bytes, size_t length) override {
    const size_t part = reset_ ? 0 : std::min(length, room_ - std::min(room_, saying_.size()));
    saying_.append(bytes, part);
    if (part > 0) far_.stream.Wake();
    return part;
  }
  void SayEnd() override {
    end_said_ = true;
    far_.stream.Wake();
  }
  void Reset() override {
    reset_ = true;
    far_.stream.Reset();
  }
  void Hear(size_t most) override {
    std::string bytes(std::max<size_t>(most, 1), '\0');
    const iovec all{bytes.data(), most};
    const ssize_t got = far_.stream.Read({&all, 1, most});
    if (got > 0) heard_.append(bytes, 0, static_cast<size_t>(got));
    if (got == 0 && most > 0) heard_end_ = true;
  }
  void Work() override { Expect(Exchange(near_, far_, random_), "sessions without a fault"); }
  void CloseNear(bool reset) override {
    near_.stream.GiveBack();
    if (reset && !near_.stream.closed()) near_.stream.ResetWith(NGHTTP2_CONNECT_ERROR);
    near_.stream.Leave();
    Work();
  }

  // ByteEnd::User, of the far stream.
  void OnReady(ByteEnd&) override {}
  void OnReset(ByteEnd&, int) override { was_reset_ = true; }
  ssize_t OnPull(ByteEnd&, const Pieces& into, bool* more) override {
    if (saying_.empty()) return end_said_ ? 0 : -EAGAIN;
    const iovec all{saying_.data(), std::min(saying_.size(), 1 + Below(random_, 20'000))};
    const size_t part = CopyPieces({&all, 1, all.iov_len}, into);
    saying_.erase(0, part);
    *more = !saying_.empty() || end_said_;
    return static_cast<ssize_t>(part);
  }

 private:
  Random& random_;
  Holder near_;
  Holder far_;
  const size_t room_;
  std::string saying_;
  bool end_said_ = false;
  bool reset_ = false;
};

}  // namespace

std::unique_ptr<FarEnd> MakeStreamEnd(World& world, Random& random, bool server) {
  return std::make_unique<Stream>(world, random, server);
}

}  // namespace orlop::contracts
