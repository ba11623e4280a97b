// fuzz · contracts · where our record layer ends: a tunnel whose secrets have no room is refused with its reason and leaves nothing, and
// key updates say what RFC 8446 4.6.3 lets them say. `record-limits`.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "../contexts.h"
#include "engine/records/record_layer.h"
#include "engine/tunnel/tls_session.h"

namespace {

using namespace orlop;
using Bytes = std::vector<uint8_t>;

void Expect(bool good, const char* what) {
  if (good) return;
  fprintf(stderr, "expected %s\n", what);
  exit(1);
}

struct End {
  std::unique_ptr<Scratch> scratch = std::make_unique<Scratch>();
  TlsSession session;

  explicit End(Role role) {
    SSL_CTX* const context = role == Role::kServer ? fuzz::TheContexts().server : fuzz::TheContexts().client;
    TlsSession::KeepSecrets(context);
    Expect(session.Open(context, role, scratch.get()), "a session");
  }
  TlsSession::Step Handshake(End* from) {
    Bytes flight;
    if (from) {
      const uint8_t* const made = from->scratch->cipher_out;
      flight.assign(made, made + std::exchange(from->scratch->cipher_length, 0));
    }
    session.Feed(flight.data(), flight.size());
    return session.Handshake();
  }
};

// The client takes the only slot of the arena, and the server finds none.
void RefusesWhatHasNoRoom() {
  {
    End client(Role::kClient), server(Role::kServer);
    client.Handshake(nullptr);
    Expect(server.Handshake(&client) == TlsSession::Step::kWant, "a server's flight");
    Expect(client.Handshake(&server) == TlsSession::Step::kDone && SecretArena::TheArena().free() == 0,
           "a slot");
    Expect(server.Handshake(&client) == TlsSession::Step::kFailed, "a refusal");
    Expect(server.session.message() == "there is no room for the secrets of another tunnel", "its reason");
  }
  Expect(SecretArena::TheArena().free() == 1, "the slot to be given back");
}

// A layer whose keys protect few records, and what its peer seals and opens under the same secrets.
struct Peer {
  std::unique_ptr<Scratch> scratch = std::make_unique<Scratch>();
  RecordLayer layer;
  TrafficSecret sealing{}, opening{};
  RecordCipher sealer, opener;

  explicit Peer(uint64_t records_per_key) {
    SecretArena::Share secrets = SecretArena::TheArena().Take();
    Expect(secrets != nullptr, "a slot");
    memset(secrets->read.bytes, 1, 32);
    memset(secrets->write.bytes, 2, 32);
    secrets->read.length = secrets->write.length = 32;
    sealing = secrets->read;
    opening = secrets->write;
    const CipherSuite suite = CipherSuite::kAes128GcmSha256;
    Expect(sealer.Start(suite, RecordCipher::Use::kSeal, &sealing) &&
               opener.Start(suite, RecordCipher::Use::kOpen, &opening) &&
               layer.Start(suite, true, std::move(secrets), scratch.get(), records_per_key),
           "keys");
  }
  void Sends(const Bytes& content, uint8_t type) {
    Bytes record(RecordCipher::kHeader + content.size() + 1 + RecordCipher::kTag);
    std::copy(content.begin(), content.end(), record.begin() + RecordCipher::kHeader);
    Expect(sealer.Seal(record.data(), content.size(), type), "a record of the peer's");
    uint8_t* in = record.data();
    size_t left = record.size();
    RecordLayer::Plain plain;
    Expect(layer.Read(&in, &left, &plain) == RecordLayer::Step::kDone, "a record to be opened");
  }
  void Updates(uint8_t request) {
    Sends({SSL3_MT_KEY_UPDATE, 0, 0, 1, request}, 22);
    Expect(sealer.Update(), "a key");
  }
  // One byte of ours, in words: 'x' the byte itself, '0' a key update that asks for nothing, '1' a key update that asks.
  std::string Gets() {
    PartedRoom room(scratch->room, 1);
    const uint8_t byte = 'x';
    room.Put(&byte, 1);
    Expect(layer.Write(&room), "a record of ours");
    std::string said;
    for (uint8_t* record = room.Record(0); record < room.Record(0) + room.sealed();) {
      const size_t sealed = static_cast<size_t>(record[3]) << 8 | record[4];
      Expect(opener.Open(record, sealed), "a record that opens");
      const uint8_t* const content = record + RecordCipher::kHeader;
      const bool update = content[sealed - RecordCipher::kTag - 1] == 22;
      said += static_cast<char>(update ? '0' + content[4] : content[0]);
      if (update) Expect(opener.Update(), "a key");
      record += RecordCipher::kHeader + sealed;
    }
    return said;
  }
};

void AnswersWithoutAsking() {
  Peer peer(4);
  peer.Updates(SSL_KEY_UPDATE_REQUESTED);
  for (int i = 0; i < 3; i++) peer.Sends({'p'}, 23);
  const std::string first = peer.Gets(), second = peer.Gets();
  Expect(first == "0x", "an answer that asks for nothing");
  Expect(second == "1x", "a request of its own behind it");
}

void AsksForNoKeyThatHasCome() {
  Peer peer(4);
  for (int i = 0; i < 3; i++) peer.Sends({'p'}, 23);
  peer.Updates(SSL_KEY_UPDATE_NOT_REQUESTED);
  Expect(peer.Gets() == "x", "no request for a key that is there");
  for (int i = 0; i < 3; i++) peer.Sends({'p'}, 23);
  Expect(peer.Gets() == "1x" && peer.Gets() == "x", "a single request for the next");
}

// The last record of a key is its update: the number of a record is never that of the limit.
void SealsNoMoreThanAKeyMay() {
  Peer peer(4);
  std::string said;
  for (int i = 0; i < 7; i++) said += peer.Gets();
  Expect(said == "xxx0xxx0x", "a key update as the last record of each key");
}

}  // namespace

int main() {
  Expect(TlsSession::UseOwnRecords(true, 1) == 0, "an arena");
  RefusesWhatHasNoRoom();
  AnswersWithoutAsking();
  AsksForNoKeyThatHasCome();
  SealsNoMoreThanAKeyMay();
  printf("within the limits\n");
  return 0;
}
