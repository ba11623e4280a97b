// fuzz · contracts · what a channel with our record layer seals arrives once and in order at OpenSSL, however little of it the socket
// takes at a time: short writes, EAGAIN, a socket that breaks. nonces.cc sees every nonce. `record-writes SEED ROUNDS`.
#include <openssl/err.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "../contexts.h"
#include "../nonces.h"
#include "engine/core/pollable.h"
#include "engine/tunnel/tls_channel.h"
#include "world.h"

namespace {

using namespace orlop;
using namespace orlop::contracts;

Random* chance = nullptr;
// Whether the socket takes less than it is given, and whether it breaks.
bool hesitant = false;
bool breaking = false;

// How much of `length` the socket takes; negative: nothing, and errno says why.
ssize_t Taken(size_t length) {
  if (!hesitant) return static_cast<ssize_t>(length);
  if (breaking && Below(*chance, 12) == 0) {
    errno = EPIPE;
    return -1;
  }
  if (Below(*chance, 3) == 0) {
    errno = EAGAIN;
    return -1;
  }
  return static_cast<ssize_t>(1 + Below(*chance, std::min<size_t>(length, 1 + Below(*chance, 20'000))));
}

}  // namespace

extern "C" {
ssize_t __real_send(int, const void*, size_t, int);
ssize_t __wrap_send(int fd, const void* bytes, size_t length, int flags) {
  const ssize_t taken = Taken(length);
  return taken < 0 ? taken : __real_send(fd, bytes, static_cast<size_t>(taken), flags);
}
ssize_t __wrap_sendmsg(int fd, const msghdr* message, int flags) {
  const iovec& first = message->msg_iov[0];
  return __wrap_send(fd, first.iov_base, first.iov_len, flags);
}
}

namespace {

struct Socket final : Pollable, Turn::Task {
  TlsChannel* channel = nullptr;
  void OnReady(uint32_t events) override { channel->Note(events); }
  void OnAgain() override {}
};

// OpenSSL at the other end of a socket pair.
struct Peer {
  SSL* ssl;
  int fd;
  std::string received;
  bool closed = false;

  Peer(bool server, const char* suite, int fd)
      : ssl(SSL_new(server ? fuzz::TheContexts().server : fuzz::TheContexts().client)), fd(fd) {
    SSL_set_ciphersuites(ssl, suite);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    server ? SSL_set_accept_state(ssl) : SSL_set_connect_state(ssl);
  }
  ~Peer() {
    SSL_free(ssl);
    close(fd);
  }
  // Reads what has come, and sends what it has to say.
  void Turn() {
    static char bytes[64 * 1024];
    for (ssize_t got; (got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0;)
      BIO_write(SSL_get_rbio(ssl), bytes, static_cast<int>(got));
    ERR_clear_error();
    for (size_t got = 0; SSL_read_ex(ssl, bytes, sizeof bytes, &got) == 1;) received.append(bytes, got);
    const int error = SSL_get_error(ssl, 0);
    closed = error == SSL_ERROR_ZERO_RETURN;
    Expect(closed || error == SSL_ERROR_WANT_READ, "OpenSSL to open every record");
    for (int length; (length = BIO_read(SSL_get_wbio(ssl), bytes, sizeof bytes)) > 0;)
      Expect(__real_send(fd, bytes, static_cast<size_t>(length), MSG_NOSIGNAL) == length,
             "room for the peer");
  }
};

// Reads what has come, as a tunnel does.
void Receive(TlsChannel& channel) {
  int error = 0;
  if (channel.Fetch(Scratch::kRecords, &error) != TlsChannel::Fetched::kRecords) return;
  TlsSession::Plain plain;
  TlsSession::Step step = TlsSession::Step::kDone;
  while (step == TlsSession::Step::kDone) step = channel.tls().Read(&plain);
  if (step == TlsSession::Step::kWant) channel.HoldTorn();
}

void Round(Random& random) {
  World world;
  const EngineServices& services = world.services();
  const bool server = random() % 2 == 0;
  const char* const suite = random() % 2 == 0 ? "TLS_AES_128_GCM_SHA256" : "TLS_AES_256_GCM_SHA384";
  int fds[2];
  Expect(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0, "a socket pair");
  Peer peer(!server, suite, fds[1]);
  Socket socket;
  TlsChannel channel(services, socket);
  socket.channel = &channel;
  Expect(channel.Adopt(Descriptor(fds[0]), &socket), "a watched socket");
  SSL_CTX* const context = server ? fuzz::TheContexts().server : fuzz::TheContexts().client;
  TlsSession::KeepSecrets(context);
  SSL_CTX_set_keylog_callback(server ? fuzz::TheContexts().client : fuzz::TheContexts().server, nullptr);
  Expect(TlsSession::UseOwnRecords(true, 8) == 0, "an arena");
  Expect(channel.tls().Open(context, server ? Role::kServer : Role::kClient, &services.buffers.scratch()),
         "a session");
  hesitant = false;
  TlsSession::Step step = channel.tls().Handshake();
  channel.SetWritable();
  channel.Send();
  for (int i = 0; i < 100 && step == TlsSession::Step::kWant; i++) {
    peer.Turn();
    world.Turn();
    int error = 0;
    if (channel.Fetch(Scratch::kRecords, &error) == TlsChannel::Fetched::kRecords)
      step = channel.tls().Handshake();
    channel.Send();
  }
  Expect(step == TlsSession::Step::kDone, "a handshake");
  channel.Hold();
  peer.Turn();
  hesitant = true;
  breaking = random() % 4 == 0;
  std::string sent;
  for (int i = 0; i < 60; i++) {
    if (random() % 3 == 0) channel.SetWritable();
    if (random() % 8 == 0) {
      SSL_key_update(peer.ssl, SSL_KEY_UPDATE_REQUESTED);
      SSL_do_handshake(peer.ssl);
    }
    Receive(channel);
    // Also in front of bytes that wait, as an alert or a farewell is.
    if (channel.Flush() || random() % 4 == 0) {
      const std::string bytes = SomeBytes(random, 1 + Below(random, 60'000));
      PartedRoom room(services.buffers.scratch().room, PartedRoom::kMostParts);
      room.Put(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
      Expect(channel.Seal(&room), "bytes to be sealed");
      sent += bytes;
      channel.Send();
    }
    peer.Turn();
    world.Turn();
  }
  hesitant = false;
  for (int i = 0; i < 10'000 && channel.full() && channel.broken() == 0; i++) {
    channel.SetWritable();
    channel.Flush();
    peer.Turn();
    world.Turn();
  }
  peer.Turn();
  Expect(sent.compare(0, peer.received.size(), peer.received) == 0, "the bytes that were sealed, in order");
  if (channel.broken() != 0) return channel.Close(false, true);
  Expect(peer.received.size() == sent.size(), "all bytes that were sealed");
  channel.Close(true, false);
  peer.Turn();
  Expect(peer.closed, "a close_notify");
}

}  // namespace

int main(int argc, char** argv) {
  const auto seed = static_cast<uint32_t>(argc > 1 ? strtoul(argv[1], nullptr, 10) : 1);
  const int rounds = argc > 2 ? atoi(argv[2]) : 10;
  SetSeed(seed);
  Random random(seed);
  chance = &random;
  for (int i = 0; i < rounds; i++) {
    fuzz::ForgetNonces();
    Round(random);
  }
  printf("%d rounds\n", rounds);
  return 0;
}
