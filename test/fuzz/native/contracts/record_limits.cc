// fuzz · contracts · where our record layer ends: a tunnel whose secrets have no room is refused with its reason and leaves nothing, key
// updates say what RFC 8446 4.6.3 lets them say, and where OpenSSL fails nothing is sealed any more. `record-limits`.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "../contexts.h"
#include "engine/tunnel/tls_session.h"
#include "record_peer.h"

namespace {

using namespace orlop;
using namespace orlop::contracts;

// Which of the next calls fails, and how many there were. -1: none fails.
int failing = -1;
int sealed_calls = 0;

}  // namespace

extern "C" {
int __real_EVP_EncryptFinal_ex(EVP_CIPHER_CTX*, unsigned char*, int*);
int __wrap_EVP_EncryptFinal_ex(EVP_CIPHER_CTX* context, unsigned char* out, int* length) {
  return sealed_calls++ == failing ? 0 : __real_EVP_EncryptFinal_ex(context, out, length);
}
}

namespace {

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

void AnswersWithoutAsking(CipherSuite suite) {
  RecordPeer peer(suite, true, 4);
  peer.Updates(SSL_KEY_UPDATE_REQUESTED);
  for (int i = 0; i < 3; i++) peer.Sends({'p'}, RecordPeer::kPayload);
  const std::string first = peer.Gets(), second = peer.Gets();
  Expect(first == "0x", "an answer that asks for nothing");
  Expect(second == "1x", "a request of its own behind it");
}

void AsksForNoKeyThatHasCome(CipherSuite suite) {
  RecordPeer peer(suite, true, 4);
  for (int i = 0; i < 3; i++) peer.Sends({'p'}, RecordPeer::kPayload);
  peer.Updates(SSL_KEY_UPDATE_NOT_REQUESTED);
  Expect(peer.Gets() == "x", "no request for a key that is there");
  for (int i = 0; i < 3; i++) peer.Sends({'p'}, RecordPeer::kPayload);
  Expect(peer.Gets() == "1x" && peer.Gets() == "x", "a single request for the next");
}

// The last record of a key is its update: the number of a record is never that of the limit.
void SealsNoMoreThanAKeyMay(CipherSuite suite) {
  RecordPeer peer(suite, true, 4);
  std::string said;
  for (int i = 0; i < 7; i++) said += peer.Gets();
  Expect(said == "xxx0xxx0x", "a key update as the last record of each key");
}

// Whichever record of three fails, a key update among them: nothing of the room may be sent, and no number is taken again.
void SealsNothingBehindAFailure(CipherSuite suite) {
  for (int which = 0; which < 5; which++) {
    RecordPeer peer(suite, true, 2);
    failing = which;
    sealed_calls = 0;
    const Bytes bytes(3 * PartedRoom::kPart, 's');
    PartedRoom room(peer.scratch->room, PartedRoom::kMostParts), another(peer.scratch->room, 1);
    room.Put(bytes.data(), bytes.size());
    Expect(!peer.layer.Write(&room) && room.sealed() == 0, "nothing of a room of which a record failed");
    const int calls = sealed_calls;
    Expect(calls == which + 1, "an end at the record that failed");
    another.Put(bytes.data(), 1);
    Expect(!peer.layer.Write(&another) && another.sealed() == 0, "nothing more");
    peer.layer.Close();
    peer.layer.Alert(SSL_AD_INTERNAL_ERROR);
    Expect(peer.scratch->cipher_length == 0 && sealed_calls == calls, "no alert, since it cannot be sealed");
  }
  failing = -1;
}

}  // namespace

int main() {
  Expect(TlsSession::UseOwnRecords(true, 1) == 0, "an arena");
  RefusesWhatHasNoRoom();
  for (const CipherSuite suite : {CipherSuite::kAes128GcmSha256, CipherSuite::kAes256GcmSha384}) {
    AnswersWithoutAsking(suite);
    AsksForNoKeyThatHasCome(suite);
    SealsNoMoreThanAKeyMay(suite);
    SealsNothingBehindAFailure(suite);
  }
  printf("within the limits\n");
  return 0;
}
