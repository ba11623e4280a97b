// fuzz · native/engine/records beside OpenSSL's own record layer, with the same secrets: both get the same bytes of one peer, cut and
// changed at will, and must give the same payload and the same verdict; and what ours seals, OpenSSL opens. No nonce is used twice
// with one key (nonces.cc).
#include <openssl/crypto.h>
#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "contexts.h"
#include "engine/records/key_line.h"
#include "engine/records/record_layer.h"
#include "nonces.h"

namespace {

using orlop::CipherSuite;
using orlop::KeySide;
using orlop::PartedRoom;
using orlop::RecordCipher;
using orlop::RecordLayer;
using orlop::Scratch;
using orlop::SecretArena;
using orlop::TrafficSecret;
using orlop::fuzz::Fail;
using orlop::fuzz::Input;
using orlop::fuzz::TheContexts;
using Bytes = std::vector<uint8_t>;

constexpr uint8_t kAlert = 21;
constexpr uint8_t kHandshake = 22;
constexpr uint8_t kPayload = 23;
constexpr size_t kMostInner = (1 << 14) + 1;

// An end that is OpenSSL alone.
struct OpenSslEnd {
  SSL* ssl;
  Bytes received;
  bool failed = false;
  bool closed = false;
  int sent_alert = 0;
  int received_alert = 0;
  TrafficSecret client{}, server{};

  OpenSslEnd(bool is_server, const char* suite)
      : ssl(SSL_new(is_server ? TheContexts().server : TheContexts().client)) {
    SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(ssl), OnKeyLine);
    SSL_set_ciphersuites(ssl, suite);
    // Handshakes are tls.cc's.
    SSL_set_verify(ssl, SSL_VERIFY_NONE, nullptr);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_app_data(ssl, this);
    SSL_set_info_callback(ssl, OnInfo);
    is_server ? SSL_set_accept_state(ssl) : SSL_set_connect_state(ssl);
  }
  ~OpenSslEnd() { SSL_free(ssl); }
  OpenSslEnd(const OpenSslEnd&) = delete;
  OpenSslEnd& operator=(const OpenSslEnd&) = delete;

  static void OnKeyLine(const SSL* ssl, const char* line) {
    auto* self = static_cast<OpenSslEnd*>(SSL_get_app_data(ssl));
    const KeySide side = orlop::SideOfKeyLine(line);
    if (side == KeySide::kOther) return;
    TrafficSecret& secret = side == KeySide::kClient ? self->client : self->server;
    secret.length = static_cast<uint32_t>(orlop::SecretOfKeyLine(line, secret.bytes, sizeof secret.bytes));
  }
  static void OnInfo(const SSL* ssl, int where, int value) {
    auto* self = static_cast<OpenSslEnd*>(SSL_get_app_data(ssl));
    if (where == SSL_CB_WRITE_ALERT) self->sent_alert = value & 0xff;
    if (where == SSL_CB_READ_ALERT) self->received_alert = value & 0xff;
  }
  Bytes Take() {
    Bytes out(BIO_ctrl_pending(SSL_get_wbio(ssl)));
    if (!out.empty()) BIO_read(SSL_get_wbio(ssl), out.data(), static_cast<int>(out.size()));
    return out;
  }
  void Give(const Bytes& bytes) {
    if (!bytes.empty()) BIO_write(SSL_get_rbio(ssl), bytes.data(), static_cast<int>(bytes.size()));
  }
  void Receive(const Bytes& bytes) {
    Give(bytes);
    while (!failed && !closed) {
      uint8_t part[4096];
      size_t got = 0;
      ERR_clear_error();
      if (SSL_read_ex(ssl, part, sizeof part, &got) == 1) {
        received.insert(received.end(), part, part + got);
        continue;
      }
      const int error = SSL_get_error(ssl, 0);
      if (error == SSL_ERROR_WANT_READ) return;
      closed = error == SSL_ERROR_ZERO_RETURN;
      failed = !closed;
    }
  }
};

// As each engine has.
Scratch* TheScratch() {
  static auto* const scratch = new Scratch;
  scratch->cipher_length = 0;
  return scratch;
}

// An end whose records are ours.
struct OwnEnd {
  Scratch* const scratch = TheScratch();
  RecordLayer layer;
  Bytes sent;
  Bytes received;
  Bytes torn;
  Bytes to_peer;
  bool failed = false;
  bool shut = false;

  // As tls_channel.cc does it.
  void Receive(const Bytes& bytes) {
    Bytes records = torn;
    records.insert(records.end(), bytes.begin(), bytes.end());
    uint8_t* at = records.data();
    size_t left = records.size();
    while (!failed) {
      RecordLayer::Plain plain;
      const RecordLayer::Step step = layer.Read(&at, &left, &plain);
      received.insert(received.end(), plain.begin, plain.begin + plain.length);
      if (step == RecordLayer::Step::kWant) {
        torn.assign(at, at + left);
        if (torn.size() >= RecordCipher::kHeader + kMostInner + 255 + RecordCipher::kTag)
          Fail("a whole record was left unread");
        return;
      }
      failed = step == RecordLayer::Step::kFailed;
    }
    if (std::string_view(layer.reason()).empty()) Fail("a failure without a reason");
  }
  void Write(uint8_t fill, size_t length) {
    const Bytes bytes(length, fill);
    PartedRoom room(scratch->room, PartedRoom::kMostParts);
    if (length > 0) room.Put(bytes.data(), bytes.size());
    if (layer.Write(&room)) {
      sent.insert(sent.end(), bytes.begin(), bytes.end());
      to_peer.insert(to_peer.end(), room.Record(0), room.Record(0) + room.sealed());
    } else if (!failed && !shut) {
      Fail("an open layer does not seal");
    }
  }
  // Nothing is sealed behind an alert, so what lies in cipher_out is the last.
  Bytes Take() {
    Bytes out = std::exchange(to_peer, {});
    out.insert(out.end(), scratch->cipher_out, scratch->cipher_out + scratch->cipher_length);
    scratch->cipher_length = 0;
    return out;
  }
};

struct World {
  Input& input;
  const bool own_is_server, wide;
  OpenSslEnd reference, peer;
  OwnEnd own;
  // In place of the peer: it seals whatever the input says.
  const bool crafted;
  TrafficSecret crafting{};
  RecordCipher crafter;
  Bytes towards_own;
  bool ticket_was_wrong = false;
  bool touched_own_records = false;

  static const char* Suite(bool wide) { return wide ? "TLS_AES_256_GCM_SHA384" : "TLS_AES_128_GCM_SHA256"; }
  World(Input& from, uint8_t what)
      : input(from),
        own_is_server(what & 1),
        wide(what & 2),
        reference(own_is_server, Suite(wide)),
        peer(!own_is_server, Suite(wide)),
        crafted(what & 4) {
    for (int i = 0; i < 4; i++) {
      OpenSslEnd& first = own_is_server ? peer : reference;
      OpenSslEnd& second = own_is_server ? reference : peer;
      SSL_do_handshake(first.ssl);
      second.Give(first.Take());
      SSL_do_handshake(second.ssl);
      first.Give(second.Take());
    }
    if (!SSL_is_init_finished(reference.ssl) || !SSL_is_init_finished(peer.ssl)) Fail("no handshake");
    SecretArena::Share secrets = SecretArena::TheArena().Take();
    if (!secrets) Fail("the arena has lost a slot");
    secrets->read = own_is_server ? reference.client : reference.server;
    secrets->write = own_is_server ? reference.server : reference.client;
    crafting = secrets->read;
    const CipherSuite suite = wide ? CipherSuite::kAes256GcmSha384 : CipherSuite::kAes128GcmSha256;
    const uint64_t per_key = what & 8 ? 4 : RecordLayer::kRecordsPerKey;
    if (!own.layer.Start(suite, own_is_server, std::move(secrets), own.scratch, per_key) ||
        !crafter.Start(suite, RecordCipher::Use::kSeal, &crafting))
      Fail("no keys");
  }

  size_t Length() { return (static_cast<size_t>(input.Byte()) << 8 | input.Byte()) % 40'000; }

  void Craft(const Bytes& content, uint8_t type, size_t padding) {
    Bytes inner(content);
    // RecordCipher puts the type last; of a padded record it is the last zero.
    if (padding > 0) {
      inner.push_back(type);
      inner.resize(inner.size() + padding - 1);
      type = 0;
    }
    if (inner.size() + 1 > kMostInner) return;
    Bytes record(RecordCipher::kHeader + inner.size() + 1 + RecordCipher::kTag);
    std::copy(inner.begin(), inner.end(), record.begin() + RecordCipher::kHeader);
    if (!crafter.Seal(record.data(), inner.size(), type)) Fail("the crafter does not seal");
    towards_own.insert(towards_own.end(), record.begin(), record.end());
  }

  void PeerWrites() {
    const uint8_t fill = input.Byte();
    size_t length = Length();
    if (crafted) {
      const size_t padding = input.Byte() % 3 == 0 ? input.Byte() * 16 : 0;
      return Craft(Bytes(std::min(length, kMostInner - 1), fill), kPayload, padding);
    }
    if (length == 0 || peer.failed || SSL_get_shutdown(peer.ssl) & SSL_SENT_SHUTDOWN) return;
    const Bytes bytes(length, fill);
    size_t written = 0;
    SSL_write_ex(peer.ssl, bytes.data(), bytes.size(), &written);
  }

  void PeerUpdates() {
    const uint8_t how = input.Byte();
    if (crafted) {
      Craft({SSL3_MT_KEY_UPDATE, 0, 0, 1, static_cast<uint8_t>(how % 4 == 3 ? how : how % 2)}, kHandshake,
            how / 64);
      crafter.Update();
      return;
    }
    if (peer.failed || SSL_get_shutdown(peer.ssl) & SSL_SENT_SHUTDOWN) return;
    SSL_key_update(peer.ssl, how % 2);
    SSL_do_handshake(peer.ssl);
  }

  // A ticket as RFC 8446 4.6.1 has it, in records of any cut, with something in between.
  void PeerSendsTicket() {
    if (!crafted) return;
    const size_t length = Length() % 2'000 + 1;
    Bytes ticket{SSL3_MT_NEWSESSION_TICKET, 0, 0, 0, 0, 0, 1, 0, 1, 2, 3, 4, 1, 9};
    ticket.push_back(static_cast<uint8_t>(length >> 8));
    ticket.push_back(static_cast<uint8_t>(length));
    ticket.resize(ticket.size() + length, 'T');
    ticket.resize(ticket.size() + 2);
    ticket[2] = static_cast<uint8_t>((ticket.size() - 4) >> 8);
    ticket[3] = static_cast<uint8_t>(ticket.size() - 4);
    const size_t cut = input.Byte() % 2 == 0 ? ticket.size() : input.Byte() * size_t{8} + 1;
    for (size_t at = 0; at < ticket.size(); at += cut) {
      const size_t end = std::min(at + cut, ticket.size());
      Craft(Bytes(&ticket[at], ticket.data() + end), kHandshake, 0);
      if (input.Byte() % 32 == 31) Craft(Bytes(1, 'x'), kPayload, 0);
    }
  }

  // Any type, any content, any padding.
  void PeerSendsAnything() {
    if (!crafted) return;
    static const std::array<uint8_t, 6> kinds{kAlert, kHandshake, kPayload, 0, 20, 24};
    const uint8_t type = kinds[input.Byte() % kinds.size()];
    Bytes content(input.Byte() % 16);
    for (uint8_t& byte : content) byte = input.Byte();
    // OpenSSL reads a ticket, which ours drops: what is wrong within is none of ours.
    if (type == kHandshake && !content.empty() && content[0] == SSL3_MT_NEWSESSION_TICKET) return;
    Craft(content, type, input.Byte() % 4 == 0 ? input.Byte() : 0);
  }

  void PeerAlerts() {
    if (crafted) return Craft({input.Byte(), input.Byte()}, kAlert, 0);
    if (!peer.failed) SSL_shutdown(peer.ssl);
  }

  bool Corrupt(Bytes* bytes) {
    if (bytes->empty() || input.Byte() % 8 != 7) return false;
    // The header of the first record, or anywhere.
    const size_t most =
        input.Byte() % 2 == 0 ? std::min<size_t>(RecordCipher::kHeader, bytes->size()) : bytes->size();
    const size_t where = (static_cast<size_t>(input.Byte()) << 8 | input.Byte()) % most;
    (*bytes)[where] ^= static_cast<uint8_t>(1u << (input.Byte() % 8));
    return true;
  }

  template <typename Receive>
  void Cut(const Bytes& bytes, Receive receive) {
    const uint8_t how = input.Byte();
    // At most 256 parts, so that no input takes long.
    const size_t step = how % 2 == 0 ? std::max<size_t>(bytes.size(), 1)
                                     : std::max(size_t{how} * how / 4, bytes.size() / 256) + 1;
    for (size_t at = 0; at < bytes.size(); at += step)
      receive(Bytes(&bytes[at], bytes.data() + std::min(at + step, bytes.size())));
  }

  void Inwards() {
    Bytes bytes = crafted ? std::exchange(towards_own, {}) : peer.Take();
    Corrupt(&bytes);
    Cut(bytes, [this](const Bytes& part) {
      reference.Receive(part);
      own.Receive(part);
      reference.Take();
      if (own.received != reference.received) Fail("another payload than OpenSSL's");
    });
    if (own.failed != (reference.failed || reference.closed)) {
      fprintf(stderr, "ours: %s; OpenSSL's alert %d\n", own.layer.reason(), reference.sent_alert);
      Fail("another verdict than OpenSSL's");
    }
    if (own.layer.peer_closed() != reference.closed) Fail("another end than OpenSSL's");
    if (reference.received_alert != own.layer.received_alert() && own.layer.received_alert() != 0)
      Fail("another alert was read than OpenSSL's");
  }

  void Outwards() {
    Bytes bytes = own.Take();
    touched_own_records |= Corrupt(&bytes);
    Cut(bytes, [this](const Bytes& part) { peer.Receive(part); });
    if (peer.received.size() > own.sent.size() ||
        !std::equal(peer.received.begin(), peer.received.end(), own.sent.begin()))
      Fail("OpenSSL reads other bytes than were sealed");
    if (touched_own_records) return;
    if (peer.received.size() != own.sent.size()) Fail("OpenSSL does not read all that was sealed");
    if (peer.sent_alert > 0) Fail("OpenSSL refuses what was sealed");
    CompareAlerts();
  }

  // What ours says where it refuses; where OpenSSL says otherwise, docs/reference/records.md has the reason.
  void CompareAlerts() {
    if (own.shut || !own.failed || !reference.failed || own.layer.received_alert() != 0) return;
    if (peer.received_alert == reference.sent_alert) return;
    static const std::array<std::array<int, 2>, 2> kOthers{{
        {SSL_AD_DECODE_ERROR, SSL_AD_UNEXPECTED_MESSAGE},  // an alert's length
        {SSL_AD_DECODE_ERROR, SSL_AD_PROTOCOL_VERSION},
    }};
    for (const auto& [ours, theirs] : kOthers)
      if (peer.received_alert == ours && reference.sent_alert == theirs) return;
    fprintf(stderr, "%s: ours %d, OpenSSL's %d\n", own.layer.reason(), peer.received_alert,
            reference.sent_alert);
    Fail("another alert than OpenSSL's");
  }

  void Act() {
    switch (const uint8_t act = input.Byte(); act % 16) {
      case 0:
      case 1:
      case 2:
        return PeerWrites();
      case 3:
      case 4:
        return PeerUpdates();
      case 5:
        return PeerSendsTicket();
      case 6:
      case 7:
        return PeerSendsAnything();
      case 8:
        return act < 128 ? PeerAlerts() : void();
      case 9:
        if (act < 192) return;
        own.layer.Close();
        own.shut = true;
        return;
      case 10:
      case 11:
      case 12:
        // As a turn does, which seals no more than a buffer of frames.
        if (own.to_peer.size() > 64 * 1024) Outwards();
        return own.Write(act, Length());
      case 13:
      case 14:
        return Inwards();
      default:
        return Outwards();
    }
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (SecretArena::TheArena().Open(4) != 0) Fail("no arena");
  orlop::fuzz::ForgetNonces();
  Input input{data, size};
  {
    const uint8_t what = input.Byte();
    World world(input, what);
    while (input.left > 0) world.Act();
    world.Inwards();
    world.Outwards();
  }
  if (SecretArena::TheArena().free() != 4) Fail("secrets were not given back");
  return 0;
}
