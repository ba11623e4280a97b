// 10, 11 · data thread · AES-GCM by OpenSSL's EVP.
#include "engine/records/aes_gcm.h"

#include <openssl/crypto.h>

#include <cstring>

namespace orlop {

bool AesGcm::Start(const EVP_CIPHER* cipher, Use use, const uint8_t* key) {
  if (!context_) context_.reset(EVP_CIPHER_CTX_new());
  if (context_ && EVP_CipherInit_ex(context_.get(), cipher, nullptr, key, nullptr, use == Use::kSeal) == 1)
    return true;
  context_.reset();
  return false;
}

bool AesGcm::Seal(const uint8_t (&nonce)[kNonce], Bytes additional, Bytes plain, uint8_t* out) {
  EVP_CIPHER_CTX* const context = context_.get();
  const auto [begin, length] = plain;
  int done = 0;
  const bool made =
      context && EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, nonce) == 1 &&
      (additional.length == 0 || EVP_EncryptUpdate(context, nullptr, &done, additional.begin,
                                                   static_cast<int>(additional.length)) == 1) &&
      (length == 0 || EVP_EncryptUpdate(context, out, &done, begin, static_cast<int>(length)) == 1) &&
      EVP_EncryptFinal_ex(context, out + length, &done) == 1 &&
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTag, out + length) == 1;
  if (!made) OPENSSL_cleanse(out, length + kTag);
  return made;
}

bool AesGcm::Open(const uint8_t (&nonce)[kNonce], Bytes additional, Bytes sealed, uint8_t* out) {
  if (!context_ || sealed.length < kTag) return false;
  EVP_CIPHER_CTX* const context = context_.get();
  const size_t length = sealed.length - kTag;
  // OpenSSL takes a tag that it may change.
  uint8_t tag[kTag];
  memcpy(tag, sealed.begin + length, kTag);
  int done = 0;
  const bool opened =
      EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, nonce) == 1 &&
      (additional.length == 0 || EVP_DecryptUpdate(context, nullptr, &done, additional.begin,
                                                   static_cast<int>(additional.length)) == 1) &&
      (length == 0 || EVP_DecryptUpdate(context, out, &done, sealed.begin, static_cast<int>(length)) == 1) &&
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTag, tag) == 1 &&
      EVP_DecryptFinal_ex(context, out + length, &done) == 1;
  if (!opened) OPENSSL_cleanse(out, length);
  return opened;
}

}  // namespace orlop
