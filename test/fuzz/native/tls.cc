// fuzz · tls_session.cc: two sessions, and in between an attacker who splits, changes, repeats and drops bytes. What arrives
// is what was sent, or the session fails. Or one session alone, and arbitrary bytes.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "contexts.h"
#include "engine/tunnel/tls_session.h"

namespace {

using orlop::PartedRoom;
using orlop::Role;
using orlop::Scratch;
using orlop::TlsSession;
using orlop::fuzz::Fail;
using orlop::fuzz::Input;
using orlop::fuzz::TheContexts;
using Bytes = std::vector<uint8_t>;

bool own_client = false;
bool own_server = false;
bool wide = false;

// One end: a session with a buffer of its own, as an engine has one per thread.
struct End {
  std::unique_ptr<Scratch> scratch = std::make_unique<Scratch>();
  TlsSession session;
  bool open = false;
  bool failed = false;
  bool shut = false;
  Bytes sent;
  Bytes received;
  Bytes torn;
  Bytes sealed;  // in order, wherever it lay

  explicit End(Role role) {
    static const bool kept = [] {
      TlsSession::KeepSecrets(TheContexts().server);
      TlsSession::KeepSecrets(TheContexts().client);
      TlsSession::KeepSecrets(TheContexts().wide_client);
      return true;
    }();
    SSL_CTX* const client = wide ? TheContexts().wide_client : TheContexts().client;
    SSL_CTX* const context = role == Role::kServer ? TheContexts().server : client;
    if (TlsSession::UseOwnRecords(role == Role::kServer ? own_server : own_client, 64) != 0) Fail("no room");
    if (!kept || !session.Open(context, role, scratch.get())) Fail("no session");
  }
  // What it has for the other end.
  Bytes Take() {
    TakeMade();
    return std::exchange(sealed, {});
  }
  void TakeMade() {
    sealed.insert(sealed.end(), scratch->cipher_out, scratch->cipher_out + scratch->cipher_length);
    scratch->cipher_length = 0;
  }
  void Handshake() {
    const TlsSession::Step step = session.Handshake();
    if (step == TlsSession::Step::kDone) open = true;
    if (step != TlsSession::Step::kFailed) return;
    failed = true;
    if (session.message().empty()) Fail("a failure without a reason");
  }
  // As tls_channel.cc and tunnel.cc do it.
  void Receive(const uint8_t* bytes, size_t length) {
    if (failed || length == 0) return;
    Bytes records = torn, rest;
    records.insert(records.end(), bytes, bytes + length);
    session.Feed(records.data(), records.size());
    if (!open) {
      Handshake();
      if (!open) return;
      session.PeerLeaf();
      session.AlpnIsH2();
      rest = session.TakeRest();
      session.Feed(rest.data(), rest.size());
    }
    for (;;) {
      TlsSession::Plain plain;
      const TlsSession::Step step = session.Read(&plain);
      received.insert(received.end(), plain.begin, plain.begin + plain.length);
      if (step == TlsSession::Step::kDone) continue;
      torn = session.TakeRest();
      failed = step == TlsSession::Step::kFailed;
      if (failed && session.message().empty()) Fail("a failure without a reason");
      return;
    }
  }
  void Write(uint8_t fill, size_t length) {
    if (!open || failed || shut || length == 0) return;
    const Bytes bytes(length, fill);
    PartedRoom room(scratch->room, PartedRoom::kMostParts);
    room.Put(bytes.data(), bytes.size());
    TakeMade();
    if (!session.Write(&room)) Fail("an open session does not seal");
    sealed.insert(sealed.end(), room.Record(0), room.Record(0) + room.sealed());
    sent.insert(sent.end(), bytes.begin(), bytes.end());
  }
};

void IsPrefix(const Bytes& received, const Bytes& sent) {
  if (received.size() > sent.size() || !std::equal(received.begin(), received.end(), sent.begin()))
    Fail("other bytes arrived than were sent");
}

// One flight on its way; true when somebody touched it.
bool Carry(Input* input, Bytes flight, End* to) {
  bool touched = false;
  const uint8_t how = input->Byte();
  if (!flight.empty() && how % 8 == 7) {
    const size_t where = (static_cast<size_t>(input->Byte()) << 8 | input->Byte()) % flight.size();
    flight[where] ^= static_cast<uint8_t>(1u << (input->Byte() % 8));
    touched = true;
  }
  if (!flight.empty() && how % 8 == 6) {
    flight.insert(flight.end(), flight.begin(), flight.begin() + static_cast<long>(flight.size() / 2));
    touched = true;
  }
  if (how % 8 == 5) {
    const size_t some = std::min<size_t>(input->Byte(), input->left);
    flight.insert(flight.begin(), input->at, input->at + some);
    touched = some > 0;
  }
  const size_t step = how % 2 == 0 ? flight.size() : static_cast<size_t>(input->Byte()) + 1;
  for (size_t at = 0; at < flight.size(); at += step)
    to->Receive(&flight[at], std::min(step, flight.size() - at));
  return touched;
}

void Between(Input input) {
  End client(Role::kClient);
  End server(Role::kServer);
  client.Handshake();
  bool touched = false;
  for (int turns = 0; turns < 64 && (input.left > 0 || turns < 6); turns++) {
    touched |= Carry(&input, client.Take(), &server);
    touched |= Carry(&input, server.Take(), &client);
    if (input.left == 0) continue;
    const uint8_t act = input.Byte();
    End& who = act % 2 == 0 ? client : server;
    // At most what one buffer of the engine holds.
    if (act % 8 < 6)
      who.Write(act, static_cast<size_t>(input.Byte()) * 257 % (PartedRoom::kMostParts * PartedRoom::kPart));
    if (act % 8 == 7 && who.open && !who.failed) {
      who.session.Shutdown();
      who.shut = true;
    }
  }
  IsPrefix(server.received, client.sent);
  IsPrefix(client.received, server.sent);
  if (!touched && (!server.open || !client.open)) Fail("an undisturbed handshake did not end");
}

void Alone(Input input) {
  End end(input.Byte() % 2 == 0 ? Role::kServer : Role::kClient);
  const size_t step = static_cast<size_t>(input.Byte()) + 1;
  end.Handshake();
  for (size_t at = 0; at < input.left; at += step)
    end.Receive(input.at + at, std::min(step, input.left - at));
  if (end.open) Fail("a handshake with nobody");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input{data, size};
  const uint8_t what = input.Byte();
  // Either record layer at either end: a session keeps the layer with which it was opened.
  own_client = what & 8;
  own_server = what & 16;
  wide = what & 32;
  what % 4 == 0 ? Alone(input) : Between(input);
  return 0;
}
