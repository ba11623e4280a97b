// 10, 11 · data thread · what each record means, and the alert of each that means nothing.
#include "engine/records/record_layer.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>

namespace orlop {
namespace {

constexpr uint8_t kAlert = 21;
constexpr uint8_t kHandshake = 22;
constexpr uint8_t kApplicationData = 23;
constexpr size_t kHeader = RecordCipher::kHeader;
constexpr size_t kTag = RecordCipher::kTag;
constexpr size_t kMostPayload = 1 << 14;
static_assert(kMostPayload == PartedRoom::kPart && kHeader == PartedRoom::kBefore &&
              1 + kTag == PartedRoom::kBehind);
constexpr size_t kMostSealed = kMostPayload + 256;
constexpr size_t kOverhead = kHeader + 1 + kTag;
// In a row, as OpenSSL does (openssl/openssl:ssl/record/record.h, MAX_EMPTY_RECORDS and MAX_WARN_ALERT_COUNT).
constexpr uint32_t kMostEmpty = 32;
constexpr uint32_t kMostIgnored = 4;

}  // namespace

bool RecordLayer::Start(CipherSuite suite, bool server, SecretArena::Share secrets, Scratch* scratch,
                        uint64_t records_per_key) {
  secrets_ = std::move(secrets);
  scratch_ = scratch;
  records_per_key_ = records_per_key;
  post_handshake_.Begin(server);
  return secrets_ && read_.Start(suite, RecordCipher::Use::kOpen, &secrets_->read) &&
         write_.Start(suite, RecordCipher::Use::kSeal, &secrets_->write);
}

// Reading.

RecordLayer::Step RecordLayer::Read(uint8_t** in, size_t* in_length, Plain* plain) {
  *plain = {};
  if (failed_) return Step::kFailed;
  if (*in_length < kHeader) return Step::kWant;
  uint8_t* const record = *in;
  size_t sealed = 0;
  if (!CheckHeader(record, &sealed)) return Step::kFailed;
  if (*in_length < kHeader + sealed) return Step::kWant;
  *in += kHeader + sealed;
  *in_length -= kHeader + sealed;
  if (!read_.Open(record, sealed)) return Fail(SSL_AD_BAD_RECORD_MAC, "a record with a wrong tag");
  return OnRecord(record + kHeader, sealed - kTag, plain);
}

bool RecordLayer::CheckHeader(const uint8_t* header, size_t* sealed) {
  *sealed = static_cast<size_t>(header[3]) << 8 | header[4];
  if (header[0] != kApplicationData) {
    // A change_cipher_spec among them: the peer's Finished is behind us (RFC 8446 5).
    Fail(SSL_AD_UNEXPECTED_MESSAGE, "a record that is not protected");
  } else if (header[1] != 3 || header[2] != 3) {
    Fail(SSL_AD_DECODE_ERROR, "a record of another version");
  } else if (*sealed > kMostSealed) {
    Fail(SSL_AD_RECORD_OVERFLOW, "a record that is too long");
  } else if (*sealed < kTag + 1) {
    // Without a type it has no plaintext to be opened to.
    Fail(SSL_AD_BAD_RECORD_MAC, "a record that is too short");
  } else {
    return true;
  }
  return false;
}

// `plain` has type and padding behind the content.
RecordLayer::Step RecordLayer::OnRecord(uint8_t* plain, size_t length, Plain* payload) {
  if (length > kMostPayload + 1) {
    OPENSSL_cleanse(plain, length);
    return Fail(SSL_AD_RECORD_OVERFLOW, "a record that holds too much");
  }
  while (length > 0 && plain[length - 1] == 0) length--;
  if (length == 0) return Fail(SSL_AD_UNEXPECTED_MESSAGE, "a record without a type");
  const uint8_t type = plain[--length];
  if (type != kHandshake && post_handshake_.partial()) {
    OPENSSL_cleanse(plain, length);
    return Fail(SSL_AD_UNEXPECTED_MESSAGE, "a record within a handshake message");
  }
  if (type == kApplicationData) return OnPayload(plain, length, payload);
  // A return behind each, so that a flood of them does not hold the thread.
  messages_++;
  Step step = Step::kFailed;
  if (type == kHandshake) {
    step = OnHandshake(plain, length);
  } else if (type == kAlert) {
    step = OnAlert(plain, length);
  } else {
    Fail(SSL_AD_UNEXPECTED_MESSAGE, "a record of no known type");
  }
  OPENSSL_cleanse(plain, length);
  return step;
}

RecordLayer::Step RecordLayer::OnPayload(const uint8_t* bytes, size_t length, Plain* payload) {
  if (length == 0) {
    if (++empty_ > kMostEmpty) return Fail(SSL_AD_UNEXPECTED_MESSAGE, "too many empty records");
    return Step::kDone;
  }
  empty_ = ignored_ = 0;
  *payload = {bytes, length};
  if (read_.records() + 1 >= records_per_key_ && !update_asked_) ask_ = update_asked_ = true;
  return Step::kDone;
}

RecordLayer::Step RecordLayer::OnHandshake(const uint8_t* bytes, size_t length) {
  const uint32_t before = post_handshake_.messages();
  const PostHandshake::Found found = post_handshake_.Take(bytes, length);
  const uint32_t ended = post_handshake_.messages() - before;
  if (ended > 1) messages_ += ended - 1;
  if (found == PostHandshake::Found::kRefused) return Fail(post_handshake_.alert(), post_handshake_.reason());
  if (found == PostHandshake::Found::kNothing) return Step::kDone;
  if (!read_.Update()) return Fail(SSL_AD_INTERNAL_ERROR, "OpenSSL has not derived the next key");
  ask_ = update_asked_ = false;
  // Several requests get one answer, in front of the next payload (RFC 8446 4.6.3).
  if (found == PostHandshake::Found::kKeyUpdateAsking) update_owed_ = true;
  return Step::kDone;
}

RecordLayer::Step RecordLayer::OnAlert(const uint8_t* bytes, size_t length) {
  if (length == 0) return Fail(SSL_AD_UNEXPECTED_MESSAGE, "an empty record of alerts");
  if (length != 2) return Fail(SSL_AD_DECODE_ERROR, "an alert of a wrong length");
  // Its level says nothing (RFC 8446 6).
  const uint8_t description = bytes[1];
  if (description == SSL_AD_USER_CANCELLED) {
    if (++ignored_ > kMostIgnored) return Fail(SSL_AD_UNEXPECTED_MESSAGE, "too many alerts");
    return Step::kDone;
  }
  failed_ = true;
  if (description == SSL_AD_CLOSE_NOTIFY) {
    peer_closed_ = true;
    reason_ = "the peer closed the TLS session";
  } else {
    received_alert_ = description;
    reason_ = SSL_alert_desc_string_long(description);
    sealing_over_ = true;
  }
  return Step::kFailed;
}

RecordLayer::Step RecordLayer::Fail(uint8_t alert, const char* reason) {
  ERR_clear_error();
  failed_ = true;
  reason_ = reason;
  Alert(alert);
  return Step::kFailed;
}

// Sealing.

bool RecordLayer::SealingOver() {
  ERR_clear_error();
  sealing_over_ = true;
  return false;
}

bool RecordLayer::SealKeyUpdate(uint8_t* record) {
  // An answer asks for nothing (RFC 8446 4.6.3); what we ask for ourselves goes in front of the record behind it.
  const bool asks = !update_owed_ && std::exchange(ask_, false);
  const uint8_t request = asks ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED;
  const uint8_t message[] = {SSL3_MT_KEY_UPDATE, 0, 0, 1, request};
  static_assert(kHeader + sizeof message + 1 + kTag == PartedRoom::kKeyUpdate);
  memcpy(record + kHeader, message, sizeof message);
  if (!write_.Seal(record, sizeof message, kHandshake)) return false;
  update_owed_ = false;
  return write_.Update();
}

bool RecordLayer::Write(PartedRoom* room) {
  if (sealing_over_) return false;
  uint8_t* const begin = room->Record(0);
  uint8_t* record = begin;
  for (size_t left = room->length(); left > 0;) {
    if (OwesUpdate()) {
      // What is not sealed yet moves, gaps and all.
      const size_t gaps = (left - 1) / PartedRoom::kPart * kOverhead;
      memmove(record + PartedRoom::kKeyUpdate, record, kHeader + left + gaps);
      if (!SealKeyUpdate(record)) return SealingOver();
      record += PartedRoom::kKeyUpdate;
    }
    const size_t part = std::min(left, PartedRoom::kPart);
    if (!write_.Seal(record, part, kApplicationData)) return SealingOver();
    record += part + kOverhead;
    left -= part;
  }
  room->SetSealed(static_cast<size_t>(record - begin));
  return true;
}

void RecordLayer::SealLast(uint8_t level, uint8_t description) {
  Scratch& scratch = *scratch_;
  const uint8_t alert[] = {level, description};
  const size_t length = sizeof alert + kOverhead;
  if (sealing_over_ || sizeof scratch.cipher_out - scratch.cipher_length < length) return;
  uint8_t* const record = scratch.cipher_out + scratch.cipher_length;
  memcpy(record + kHeader, alert, sizeof alert);
  if (write_.Seal(record, sizeof alert, kAlert)) scratch.cipher_length += length;
  SealingOver();
}

void RecordLayer::Close() {
  constexpr uint8_t kWarning = 1;
  SealLast(kWarning, SSL_AD_CLOSE_NOTIFY);
}

void RecordLayer::Alert(uint8_t description) {
  constexpr uint8_t kFatal = 2;
  SealLast(kFatal, description);
}

}  // namespace orlop
