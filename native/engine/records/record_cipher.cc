// 10, 11 · data thread · keys, nonces, AES-GCM.
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
  context_.reset(EVP_CIPHER_CTX_new());
  return context_ && secret->length == static_cast<size_t>(EVP_MD_get_size(digest_)) && UseSecret();
}

bool RecordCipher::UseSecret() {
  uint8_t key[32];
  const auto key_length = static_cast<size_t>(EVP_CIPHER_get_key_length(aead_));
  const bool ready =
      ExpandLabel(digest_, secret_->bytes, secret_->length, "key", key, key_length) &&
      ExpandLabel(digest_, secret_->bytes, secret_->length, "iv", secret_->iv, sizeof secret_->iv) &&
      EVP_CipherInit_ex(context_.get(), aead_, nullptr, key, nullptr, use_ == Use::kSeal ? 1 : 0) == 1;
  OPENSSL_cleanse(key, sizeof key);
  next_ = 0;
  if (!ready) context_.reset();
  return ready;
}

bool RecordCipher::Update() {
  uint8_t next[TrafficSecret::kMost];
  const bool made =
      context_ && ExpandLabel(digest_, secret_->bytes, secret_->length, "traffic upd", next, secret_->length);
  if (made) memcpy(secret_->bytes, next, secret_->length);
  OPENSSL_cleanse(next, sizeof next);
  if (!made) context_.reset();
  return made && UseSecret();
}

// The number is used up before anything is done with it, so that no failure can bring it back.
bool RecordCipher::TakeNonce(uint8_t (&nonce)[12]) {
  if (!context_ || next_ == std::numeric_limits<uint64_t>::max()) return false;
  const uint64_t number = next_++;
  memcpy(nonce, secret_->iv, sizeof nonce);
  for (int i = 0; i < 8; i++) nonce[4 + i] ^= static_cast<uint8_t>(number >> (56 - 8 * i));
  return true;
}

bool RecordCipher::Seal(const uint8_t* payload, size_t length, uint8_t type, uint8_t* out) {
  uint8_t nonce[12];
  if (!TakeNonce(nonce)) return false;
  const size_t sealed = length + 1 + kTag;
  const uint8_t header[kHeader] = {kApplicationData, 3, 3, static_cast<uint8_t>(sealed >> 8),
                                   static_cast<uint8_t>(sealed)};
  memcpy(out, header, kHeader);
  uint8_t* const body = out + kHeader;
  EVP_CIPHER_CTX* const context = context_.get();
  int done = 0;
  const bool made =
      EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, nonce) == 1 &&
      EVP_EncryptUpdate(context, nullptr, &done, header, kHeader) == 1 &&
      (length == 0 || EVP_EncryptUpdate(context, body, &done, payload, static_cast<int>(length)) == 1) &&
      EVP_EncryptUpdate(context, body + length, &done, &type, 1) == 1 &&
      EVP_EncryptFinal_ex(context, body + length + 1, &done) == 1 &&
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTag, body + length + 1) == 1;
  if (made) return true;
  OPENSSL_cleanse(out, kHeader + sealed);
  context_.reset();
  return false;
}

bool RecordCipher::Open(const uint8_t (&header)[kHeader], const uint8_t* sealed, size_t length,
                        uint8_t* out) {
  uint8_t nonce[12], tag[kTag];
  if (length < kTag || !TakeNonce(nonce)) return false;
  const size_t plain = length - kTag;
  memcpy(tag, sealed + plain, kTag);
  EVP_CIPHER_CTX* const context = context_.get();
  int done = 0;
  const bool opened =
      EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, nonce) == 1 &&
      EVP_DecryptUpdate(context, nullptr, &done, header, kHeader) == 1 &&
      (plain == 0 || EVP_DecryptUpdate(context, out, &done, sealed, static_cast<int>(plain)) == 1) &&
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTag, tag) == 1 &&
      EVP_DecryptFinal_ex(context, out + plain, &done) == 1;
  if (!opened) OPENSSL_cleanse(out, plain);
  return opened;
}

}  // namespace orlop
