// 10, 11 · data thread · keys and nonces.
#include "engine/records/record_cipher.h"

#include <openssl/crypto.h>

#include <cstring>
#include <limits>

#include "engine/records/expand_label.h"

namespace orlop {
namespace {

constexpr uint8_t kApplicationData = 23;

}  // namespace

bool RecordCipher::Start(CipherSuite suite, Use use, TrafficSecret* secret) {
  const bool small = suite == CipherSuite::kAes128GcmSha256;
  digest_ = small ? EVP_sha256() : EVP_sha384();
  aead_ = small ? EVP_aes_128_gcm() : EVP_aes_256_gcm();
  use_ = use;
  secret_ = secret;
  return secret->length == static_cast<size_t>(EVP_MD_get_size(digest_)) && UseSecret();
}

bool RecordCipher::UseSecret() {
  uint8_t key[32];
  const auto key_length = static_cast<size_t>(EVP_CIPHER_get_key_length(aead_));
  const bool ready =
      ExpandLabel(digest_, secret_->bytes, secret_->length, "key", key, key_length) &&
      ExpandLabel(digest_, secret_->bytes, secret_->length, "iv", secret_->iv, sizeof secret_->iv) &&
      cipher_.Start(aead_, use_, key);
  OPENSSL_cleanse(key, sizeof key);
  next_ = 0;
  if (!ready) cipher_.Stop();
  return ready;
}

bool RecordCipher::Update() {
  uint8_t next[TrafficSecret::kMost];
  const bool made = cipher_.started() && ExpandLabel(digest_, secret_->bytes, secret_->length, "traffic upd",
                                                     next, secret_->length);
  if (made) memcpy(secret_->bytes, next, secret_->length);
  OPENSSL_cleanse(next, sizeof next);
  if (!made) cipher_.Stop();
  return made && UseSecret();
}

// The number counts as used before the caller seals anything with it: after a failure it is not given out again.
bool RecordCipher::TakeNonce(uint8_t (&nonce)[AesGcm::kNonce]) {
  if (!cipher_.started() || next_ == std::numeric_limits<uint64_t>::max()) return false;
  const uint64_t number = next_++;
  memcpy(nonce, secret_->iv, sizeof nonce);
  for (int i = 0; i < 8; i++) nonce[4 + i] ^= static_cast<uint8_t>(number >> (56 - 8 * i));
  return true;
}

bool RecordCipher::Seal(uint8_t* record, size_t length, uint8_t type) {
  uint8_t nonce[AesGcm::kNonce];
  if (!TakeNonce(nonce)) return false;
  const size_t sealed = length + 1 + kTag;
  const uint8_t header[kHeader] = {kApplicationData, 3, 3, static_cast<uint8_t>(sealed >> 8),
                                   static_cast<uint8_t>(sealed)};
  memcpy(record, header, kHeader);
  uint8_t* const content = record + kHeader;
  content[length] = type;
  if (cipher_.Seal(nonce, {record, kHeader}, {content, length + 1}, content)) return true;
  cipher_.Stop();
  return false;
}

bool RecordCipher::Open(uint8_t* record, size_t sealed) {
  uint8_t nonce[AesGcm::kNonce];
  uint8_t* const begin = record + kHeader;
  return sealed >= kTag && TakeNonce(nonce) && cipher_.Open(nonce, {record, kHeader}, {begin, sealed}, begin);
}

}  // namespace orlop
