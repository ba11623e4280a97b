// 10, 11 · data thread · the record of an alert: its key from the traffic secret, and AES-GCM with sequence number 0.
#include "engine/tunnel/tls_alert.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <cstring>
#include <memory>

namespace orlop {
namespace {

constexpr size_t kIv = 12;
constexpr size_t kTag = 16;
constexpr uint8_t kFatal = 2;
constexpr uint8_t kAlert = 21;
constexpr uint8_t kApplicationData = 23;

struct FreeCipher {
  void operator()(EVP_CIPHER_CTX* cipher) const { EVP_CIPHER_CTX_free(cipher); }
};

int Digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// HKDF-Expand-Label without context (RFC 8446 7.1), for what fits into one block of the digest.
bool Expand(const EVP_MD* digest, const uint8_t* secret, size_t secret_length, std::string_view label,
            uint8_t* out, size_t length) {
  uint8_t info[64] = {0, static_cast<uint8_t>(length), static_cast<uint8_t>(label.size())};
  memcpy(info + 3, label.data(), label.size());
  const size_t info_length = 3 + label.size() + 1;  // an empty context is a zero
  info[info_length] = 1;
  uint8_t block[EVP_MAX_MD_SIZE];
  unsigned block_length = 0;
  const bool made = HMAC(digest, secret, static_cast<int>(secret_length), info, info_length + 1, block,
                         &block_length) != nullptr &&
                    block_length >= length;
  if (made) memcpy(out, block, length);
  OPENSSL_cleanse(block, sizeof block);
  return made;
}

}  // namespace

void AlertSecret::Take(std::string_view line, bool server) {
  constexpr std::string_view kServer = "SERVER_TRAFFIC_SECRET_0 ";
  constexpr std::string_view kClient = "CLIENT_TRAFFIC_SECRET_0 ";
  const std::string_view label = server ? kServer : kClient;
  if (line.substr(0, label.size()) != label) return;
  const std::string_view hex = line.substr(line.rfind(' ') + 1);
  Forget();
  if (hex.size() % 2 != 0 || hex.size() / 2 > secret_.size()) return;
  for (size_t i = 0; i < hex.size(); i += 2) {
    const int high = Digit(hex[i]), low = Digit(hex[i + 1]);
    if (high < 0 || low < 0) return Forget();
    secret_[i / 2] = static_cast<uint8_t>(high << 4 | low);
  }
  length_ = hex.size() / 2;
}

void AlertSecret::Forget() {
  OPENSSL_cleanse(secret_.data(), secret_.size());
  length_ = 0;
}

size_t AlertSecret::Seal(const SSL* ssl, uint8_t description, uint8_t (&out)[kRecord]) {
  const SSL_CIPHER* suite = SSL_get_current_cipher(ssl);
  if (length_ == 0 || !suite || SSL_version(ssl) != TLS1_3_VERSION) return 0;
  const EVP_MD* digest = SSL_CIPHER_get_handshake_digest(suite);
  const uint32_t id = SSL_CIPHER_get_id(suite);
  const EVP_CIPHER* aead = id == TLS1_3_CK_AES_128_GCM_SHA256   ? EVP_aes_128_gcm()
                           : id == TLS1_3_CK_AES_256_GCM_SHA384 ? EVP_aes_256_gcm()
                                                                : nullptr;
  if (!digest || !aead) return 0;
  uint8_t key[32], iv[kIv];
  const size_t key_length = static_cast<size_t>(EVP_CIPHER_get_key_length(aead));
  const std::unique_ptr<EVP_CIPHER_CTX, FreeCipher> cipher(EVP_CIPHER_CTX_new());
  // The kind of the record follows its content (RFC 8446 5.2).
  const uint8_t content[] = {kFatal, description, kAlert};
  const uint8_t header[] = {kApplicationData, 3, 3, 0, sizeof content + kTag};
  int done = 0;
  memcpy(out, header, sizeof header);
  uint8_t* const sealed = out + sizeof header;
  const bool made =
      cipher && Expand(digest, secret_.data(), length_, "tls13 key", key, key_length) &&
      Expand(digest, secret_.data(), length_, "tls13 iv", iv, kIv) &&
      EVP_EncryptInit_ex(cipher.get(), aead, nullptr, key, iv) == 1 &&
      EVP_EncryptUpdate(cipher.get(), nullptr, &done, header, sizeof header) == 1 &&
      EVP_EncryptUpdate(cipher.get(), sealed, &done, content, sizeof content) == 1 &&
      EVP_EncryptFinal_ex(cipher.get(), sealed + sizeof content, &done) == 1 &&
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_GET_TAG, kTag, sealed + sizeof content) == 1;
  OPENSSL_cleanse(key, sizeof key);
  OPENSSL_cleanse(iv, sizeof iv);
  Forget();
  return made ? kRecord : 0;
}

}  // namespace orlop
