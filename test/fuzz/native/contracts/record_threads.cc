// fuzz · contracts · data threads that share contexts, key log callback and the arena of the secrets, each with tunnels of its own, under
// ThreadSanitizer: what is sent arrives, every slot is given back. `record-threads THREADS ROUNDS`.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "../contexts.h"
#include "engine/records/secret_arena.h"
#include "engine/tunnel/tls_session.h"

namespace {

using namespace orlop;
using Bytes = std::vector<uint8_t>;

void Expect(bool good, const char* what) {
  if (!good) fuzz::Fail(what);
}

struct End {
  std::unique_ptr<Scratch> scratch = std::make_unique<Scratch>();
  TlsSession session;
  bool open = false;

  explicit End(SSL_CTX* context, Role role) {
    Expect(session.Open(context, role, scratch.get()), "a session");
  }
  Bytes Take() {
    Bytes out(scratch->cipher_out, scratch->cipher_out + scratch->cipher_length);
    scratch->cipher_length = 0;
    return out;
  }
  Bytes Seal(const Bytes& bytes) {
    PartedRoom room(scratch->room, PartedRoom::kMostParts);
    room.Put(bytes.data(), bytes.size());
    Expect(session.Write(&room), "room");
    return Bytes(room.Record(0), room.Record(0) + room.sealed());
  }
  void Handshake(Bytes flight) {
    session.Feed(flight.data(), flight.size());
    const TlsSession::Step step = session.Handshake();
    Expect(step != TlsSession::Step::kFailed, "a handshake");
    open = step == TlsSession::Step::kDone;
  }
  Bytes Read(Bytes records) {
    session.Feed(records.data(), records.size());
    Bytes out;
    TlsSession::Step step = TlsSession::Step::kDone;
    while (step == TlsSession::Step::kDone) {
      TlsSession::Plain plain;
      step = session.Read(&plain);
      out.insert(out.end(), plain.begin, plain.begin + plain.length);
    }
    Expect(step == TlsSession::Step::kWant, "records");
    return out;
  }
};

void Pass(End& from, End& to, const Bytes& bytes) {
  Expect(to.Read(from.Seal(bytes)) == bytes, "what was sent");
}

void Tunnel(size_t thread, size_t round) {
  const fuzz::Contexts& contexts = fuzz::TheContexts();
  End client(round % 2 == 0 ? contexts.client : contexts.wide_client, Role::kClient);
  End server(contexts.server, Role::kServer);
  client.Handshake({});
  while (!client.open || !server.open) {
    if (!server.open) server.Handshake(client.Take());
    if (!client.open) client.Handshake(server.Take());
  }
  for (size_t length = 1; length < PartedRoom::kMostParts * PartedRoom::kPart; length *= 7) {
    const Bytes bytes(length, static_cast<uint8_t>(thread * 31 + round));
    Pass(client, server, bytes);
    Pass(server, client, bytes);
  }
  client.session.Shutdown();
}

}  // namespace

int main(int argc, char** argv) {
  Expect(argc == 3, "THREADS ROUNDS");
  const size_t threads = strtoul(argv[1], nullptr, 10), rounds = strtoul(argv[2], nullptr, 10);
  // Both ends of each thread's tunnel, and no slot more.
  Expect(TlsSession::UseOwnRecords(true, 2 * threads) == 0, "an arena");
  TlsSession::KeepSecrets(fuzz::TheContexts().server);
  TlsSession::KeepSecrets(fuzz::TheContexts().client);
  TlsSession::KeepSecrets(fuzz::TheContexts().wide_client);
  std::vector<std::thread> running;
  std::atomic<size_t> left{threads};
  for (size_t thread = 0; thread < threads; thread++) {
    running.emplace_back([thread, rounds, &left] {
      for (size_t round = 0; round < rounds; round++) Tunnel(thread, round);
      left--;
    });
  }
  // As the main thread, whose calls come at any time.
  while (left > 0) {
    Expect(SecretArena::TheArena().free() <= 2 * threads, "a count of free slots");
    Expect(TlsSession::UseOwnRecords(true) == 0, "the same arena");
  }
  for (std::thread& thread : running) thread.join();
  Expect(SecretArena::TheArena().free() == 2 * threads, "every slot to be given back");
  printf("%zu tunnels in %zu threads\n", threads * rounds, threads);
  return 0;
}
