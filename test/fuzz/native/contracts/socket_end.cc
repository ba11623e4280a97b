// fuzz · an end that is a TCP connection over loopback: the relay's side is the engine's SocketEnd.
#include "engine/relay/socket_end.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "engine/core/descriptor.h"
#include "far_end.h"

namespace orlop::contracts {
namespace {

// Two ends of a TCP connection.
void MakePair(Descriptor* near, Descriptor* far) {
  const Descriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  *far = Descriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // Small, so that a full socket is soon reached.
  const int bytes = 8'192;
  setsockopt(listener.get(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  setsockopt(far->get(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  if (bind(listener.get(), any, length) != 0 || listen(listener.get(), 1) != 0 ||
      getsockname(listener.get(), any, &length) != 0 ||
      (connect(far->get(), any, length) != 0 && errno != EINPROGRESS))
    Wrong("a connection over loopback");
  *near = Descriptor(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  Expect(static_cast<bool>(*near), "an accepted connection");
}

class Socket final : public FarEnd, public ByteEnd::User {
 public:
  explicit Socket(World& world) : near_(world.services(), *this) {
    Descriptor near;
    MakePair(&near, &far_);
    near_.SetWritable();
    Expect(near_.Adopt(std::move(near)), "the socket to be watched");
  }

  ByteEnd& Near(ByteEnd::User& user) override {
    near_.Start(user);
    return near_;
  }
  size_t Say(const char* bytes, size_t length) override {
    if (!far_) return 0;
    const ssize_t sent = send(far_.get(), bytes, length, MSG_NOSIGNAL);
    return static_cast<size_t>(std::max<ssize_t>(sent, 0));
  }
  void SayEnd() override {
    if (far_) shutdown(far_.get(), SHUT_WR);
  }
  void Reset() override { far_.CloseWithReset(); }
  void Hear(size_t most) override {
    if (!far_ || most == 0) return;
    std::string bytes(most, '\0');
    const ssize_t got = recv(far_.get(), bytes.data(), most, 0);
    if (got > 0) heard_.append(bytes, 0, static_cast<size_t>(got));
    if (got == 0) heard_end_ = true;
    if (got < 0 && errno != EAGAIN) was_reset_ = true;
  }
  void CloseNear(bool reset) override { near_.Close(reset); }

  // ByteEnd::User, before the relay is.
  void OnReady(ByteEnd&) override {}
  void OnReset(ByteEnd&, int) override {}
  ssize_t OnPull(ByteEnd&, const Pieces&, bool*) override { return -EAGAIN; }

 private:
  SocketEnd near_;
  Descriptor far_;
};

}  // namespace

std::unique_ptr<FarEnd> MakeSocketEnd(World& world, Random&) {
  return std::make_unique<Socket>(world);
}

}  // namespace orlop::contracts
