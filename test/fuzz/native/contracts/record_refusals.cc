// fuzz · contracts · the table "What is refused" of docs/reference/records.md: each misuse gets its alert, sealed, fatal and the last of all
// records, in either suite and role; and what lies a step on this side of it is taken. `record-refusals`.
#include <functional>
#include <optional>

#include "record_peer.h"

namespace {

using namespace orlop;
using namespace orlop::contracts;
using Step = RecordLayer::Step;

constexpr uint8_t kAlert = RecordPeer::kAlert, kHandshake = RecordPeer::kHandshake,
                  kPayload = RecordPeer::kPayload;
constexpr size_t kMostInner = (1 << 14) + 1;
constexpr size_t kMostTicket = 64 * 1024;

// Records as they are on the wire.
using Records = std::vector<Bytes>;
struct Case {
  const char* what;
  // The last of them is refused, and none before.
  std::function<Records(RecordPeer&)> records;
  // Nothing: all of them are taken.
  std::optional<uint8_t> alert;
  enum class Of { kBoth, kServer, kClient } of = Of::kBoth;
};

Bytes Raw(uint8_t type, uint8_t minor, size_t length) {
  Bytes record(RecordCipher::kHeader + length, 7);
  const uint8_t header[] = {type, 3, minor, static_cast<uint8_t>(length >> 8), static_cast<uint8_t>(length)};
  std::copy(header, header + sizeof header, record.begin());
  return record;
}
auto OnWire(uint8_t type, uint8_t minor, size_t length) {
  return [=](RecordPeer&) { return Records{Raw(type, minor, length)}; };
}
// Sealed in turn.
auto Inner(std::vector<Bytes> inners) {
  return [inners](RecordPeer& peer) {
    Records out;
    for (const Bytes& inner : inners) out.push_back(peer.Seal(inner));
    return out;
  };
}
auto Times(size_t times, const Bytes& inner) {
  return Inner(std::vector<Bytes>(times, inner));
}
// `content`, type and zeros.
Bytes Padded(size_t content, size_t padding) {
  Bytes inner(content, 'p');
  inner.push_back(kPayload);
  inner.resize(inner.size() + padding);
  return inner;
}
auto Message(uint8_t type, Bytes body) {
  Bytes inner{type, static_cast<uint8_t>(body.size() >> 16), static_cast<uint8_t>(body.size() >> 8),
              static_cast<uint8_t>(body.size())};
  inner.insert(inner.end(), body.begin(), body.end());
  return inner;
}
Bytes In(Bytes content, uint8_t type) {
  content.push_back(type);
  return content;
}
// In as many records as it takes.
auto Ticket(size_t length) {
  return [length](RecordPeer& peer) {
    const Bytes message = Message(SSL3_MT_NEWSESSION_TICKET, Bytes(length, 't'));
    Records out;
    for (size_t at = 0; at < message.size(); at += 1 << 14) {
      const size_t end = std::min(at + (1 << 14), message.size());
      out.push_back(peer.Seal(In(Bytes(&message[at], message.data() + end), kHandshake)));
      // Its head is enough.
      if (length > kMostTicket) break;
    }
    return out;
  };
}
// Records, of which the last has another bit than the peer sealed.
auto Changed(size_t from_end) {
  return [from_end](RecordPeer& peer) {
    Bytes record = peer.Seal(Padded(100, 0));
    record[record.size() - 1 - from_end] ^= 1;
    return Records{record};
  };
}

const std::vector<Case>& Cases() {
  static const std::vector<Case>* const cases = [] {
    const Bytes update{SSL3_MT_KEY_UPDATE, 0, 0, 1, 0};
    const Bytes cancelled{1, SSL_AD_USER_CANCELLED, kAlert};
    auto* const all = new std::vector<Case>{
        {"change_cipher_spec", OnWire(20, 3, 1), SSL_AD_UNEXPECTED_MESSAGE},
        {"an alert in the clear", OnWire(21, 3, 2), SSL_AD_UNEXPECTED_MESSAGE},
        {"a handshake message in the clear", OnWire(22, 3, 64), SSL_AD_UNEXPECTED_MESSAGE},
        {"an outer type of nobody's", OnWire(24, 3, 64), SSL_AD_UNEXPECTED_MESSAGE},
        {"a version of TLS 1.0", OnWire(23, 1, 64), SSL_AD_DECODE_ERROR},
        {"a version of TLS 1.3", OnWire(23, 4, 64), SSL_AD_DECODE_ERROR},
        {"a length of 2^14 + 257", OnWire(23, 3, (1 << 14) + 257), SSL_AD_RECORD_OVERFLOW},
        {"a length of 16", OnWire(23, 3, 16), SSL_AD_BAD_RECORD_MAC},
        {"a length of 0", OnWire(23, 3, 0), SSL_AD_BAD_RECORD_MAC},
        {"2^14 + 256 bytes of nobody's", OnWire(23, 3, (1 << 14) + 256), SSL_AD_BAD_RECORD_MAC},
        {"another tag", Changed(0), SSL_AD_BAD_RECORD_MAC},
        {"another ciphertext", Changed(50), SSL_AD_BAD_RECORD_MAC},
        {"a record that came before",
         [](RecordPeer& peer) {
           const Bytes record = peer.Seal(Padded(3, 0));
           return Records{record, record};
         },
         SSL_AD_BAD_RECORD_MAC},
        {"a record behind one that is lost",
         [](RecordPeer& peer) {
           peer.Seal(Padded(3, 0));
           return Records{peer.Seal(Padded(3, 0))};
         },
         SSL_AD_BAD_RECORD_MAC},
        {"content, type and padding of 2^14 + 1", Inner({Padded(1 << 14, 0), Padded(1, kMostInner - 2)}), {}},
        {"content of 2^14 + 1", Inner({Padded((1 << 14) + 1, 0)}), SSL_AD_RECORD_OVERFLOW},
        {"padding beyond 2^14 + 1", Inner({Padded(1, kMostInner - 1)}), SSL_AD_RECORD_OVERFLOW},
        {"only zeros", Inner({Bytes(100, 0)}), SSL_AD_UNEXPECTED_MESSAGE},
        {"a single zero", Inner({Bytes(1, 0)}), SSL_AD_UNEXPECTED_MESSAGE},
        {"a sealed change_cipher_spec", Inner({{1, 20}}), SSL_AD_UNEXPECTED_MESSAGE},
        {"a sealed heartbeat", Inner({{1, 24}}), SSL_AD_UNEXPECTED_MESSAGE},
        {"an inner type of nobody's", Inner({{1, 255}}), SSL_AD_UNEXPECTED_MESSAGE},
        {"an empty record of alerts", Inner({{kAlert}}), SSL_AD_UNEXPECTED_MESSAGE},
        {"an empty record of messages, padded", Inner({{kHandshake, 0, 0}}), SSL_AD_UNEXPECTED_MESSAGE},
        {"32 records of payload without any", Times(32, {kPayload}), {}},
        {"33 records of payload without any", Times(33, {kPayload}), SSL_AD_UNEXPECTED_MESSAGE},
        {"payload within a message", Inner({{24, 0, 0, kHandshake}, {'p', kPayload}}),
         SSL_AD_UNEXPECTED_MESSAGE},
        {"an alert within a message", Inner({{24, 0, 0, 1, kHandshake}, {1, 0, kAlert}}),
         SSL_AD_UNEXPECTED_MESSAGE},
        {"two key updates in a record", Inner({In(Bytes{24, 0, 0, 1, 0, 24, 0, 0, 1, 0}, kHandshake)}),
         SSL_AD_UNEXPECTED_MESSAGE},
        {"the begin of a message behind a key update", Inner({In(Bytes{24, 0, 0, 1, 0, 24}, kHandshake)}),
         SSL_AD_UNEXPECTED_MESSAGE},
        {"a key update without a body", Inner({In(Message(24, {}), kHandshake)}), SSL_AD_DECODE_ERROR},
        {"a key update of two bytes", Inner({In(Message(24, {0, 0}), kHandshake)}), SSL_AD_DECODE_ERROR},
        {"a key update of 2", Inner({In(Message(24, {2}), kHandshake)}), SSL_AD_ILLEGAL_PARAMETER},
        {"a key update of 255", Inner({In(Message(24, {255}), kHandshake)}), SSL_AD_ILLEGAL_PARAMETER},
        {"a key update a byte a record",
         Inner({{24, kHandshake}, {0, kHandshake}, {0, kHandshake}, {1, kHandshake}, {0, kHandshake}}),
         {}},
        {"a ticket to a server", Ticket(100), SSL_AD_UNEXPECTED_MESSAGE, Case::Of::kServer},
        {"a ticket of 64 KiB", Ticket(kMostTicket), {}, Case::Of::kClient},
        {"a ticket of 64 KiB and a byte", Ticket(kMostTicket + 1), SSL_AD_DECODE_ERROR, Case::Of::kClient},
        {"an alert of a byte", Inner({{2, kAlert}}), SSL_AD_DECODE_ERROR},
        {"two alerts in a record", Inner({{1, 90, 1, 90, kAlert}}), SSL_AD_DECODE_ERROR},
        {"four times user_canceled", Times(4, cancelled), {}},
        {"five times user_canceled", Times(5, cancelled), SSL_AD_UNEXPECTED_MESSAGE},
    };
    // hello_request, client_hello, server_hello, end_of_early_data, encrypted_extensions, certificate, certificate_request,
    // certificate_verify, finished, message_hash (RFC 8446 B.3).
    for (const uint8_t type : {0, 1, 2, 5, 8, 11, 13, 15, 20, 254})
      all->push_back({"a message of the handshake", Inner({In(Message(type, Bytes(8, 1)), kHandshake)}),
                      SSL_AD_UNEXPECTED_MESSAGE});
    return all;
  }();
  return *cases;
}

// The only record that the layer has sealed of itself.
void IsLastAlert(RecordPeer& peer, uint8_t description, const std::string& what) {
  Scratch& scratch = *peer.scratch;
  constexpr size_t kSealed = 2 + 1 + RecordCipher::kTag;
  Expect(scratch.cipher_length == RecordCipher::kHeader + kSealed, "a single alert for " + what);
  Expect(peer.opener.Open(scratch.cipher_out, kSealed), "an alert that opens for " + what);
  const uint8_t* const alert = scratch.cipher_out + RecordCipher::kHeader;
  Expect(alert[0] == 2 && alert[1] == description && alert[2] == kAlert,
         std::to_string(description) + " for " + what + ", not " + std::to_string(alert[1]));
  peer.layer.Close();
  peer.layer.Alert(SSL_AD_INTERNAL_ERROR);
  PartedRoom room(scratch.room, 1);
  room.Put(alert, 1);
  Expect(!peer.layer.Write(&room) && room.sealed() == 0 &&
             scratch.cipher_length == RecordCipher::kHeader + kSealed,
         "nothing behind the alert for " + what);
}

void Judge(const Case& one, CipherSuite suite, bool server) {
  RecordPeer peer(suite, server);
  Records records = one.records(peer);
  const Bytes last = one.alert ? records.back() : Bytes{};
  if (one.alert) records.pop_back();
  for (const Bytes& record : records)
    Expect(peer.Reads(record) == Step::kDone, std::string("nothing against ") + one.what);
  if (!one.alert) {
    // As after each key update.
    if (std::string(one.what).find("key update") != std::string::npos) peer.sealer.Update();
    peer.Sends({'!'}, kPayload);
    Expect(peer.read.back() == '!' && peer.Gets() == "x", std::string("a tunnel behind ") + one.what);
    return;
  }
  const std::string before = peer.read;
  Expect(peer.Reads(last) == Step::kFailed && peer.read == before, std::string("a refusal of ") + one.what);
  Expect(peer.layer.received_alert() == 0 && !peer.layer.peer_closed() && *peer.layer.reason() != 0,
         std::string("a reason for ") + one.what);
  IsLastAlert(peer, *one.alert, one.what);
  Expect(peer.Reads(peer.Seal(Padded(1, 0))) == Step::kFailed && peer.read == before,
         std::string("nothing to be read behind ") + one.what);
}

}  // namespace

int main() {
  Expect(SecretArena::TheArena().Open(2) == 0, "an arena");
  size_t judged = 0;
  for (const CipherSuite suite : {CipherSuite::kAes128GcmSha256, CipherSuite::kAes256GcmSha384}) {
    for (const bool server : {false, true}) {
      for (const Case& one : Cases()) {
        if (one.of != Case::Of::kBoth && (one.of == Case::Of::kServer) != server) continue;
        Judge(one, suite, server);
        judged++;
      }
    }
  }
  Expect(SecretArena::TheArena().free() == 2, "every slot to be given back");
  printf("%zu cases, judged as the page has them\n", judged);
  return 0;
}
