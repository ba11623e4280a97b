// 10, 11 · data thread · AES-GCM with a key of its own, as TLS 1.3 uses it: nonces of 12 bytes, tags of 16. It keeps no count of nonces.
#pragma once

#include <openssl/evp.h>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace orlop {

class AesGcm {
 public:
  static constexpr size_t kNonce = 12;
  static constexpr size_t kTag = 16;
  enum class Use { kSeal, kOpen };
  struct Bytes {
    const uint8_t* begin;
    size_t length;
  };

  // `key` is as long as that of `cipher`. False: OpenSSL refused, and nothing can be sealed or opened.
  bool Start(const EVP_CIPHER* cipher, Use use, const uint8_t* key);
  void Stop() { context_.reset(); }
  bool started() const { return context_ != nullptr; }
  // `out` gets ciphertext and tag, plain.length + kTag bytes, and may begin where `plain` does. False: `out` is wiped.
  bool Seal(const uint8_t (&nonce)[kNonce], Bytes additional, Bytes plain, uint8_t* out);
  // `sealed` ends with a tag. `out` gets the rest, and may begin where `sealed` does. False: the tag is wrong, and `out` is wiped.
  bool Open(const uint8_t (&nonce)[kNonce], Bytes additional, Bytes sealed, uint8_t* out);

 private:
  struct Free {
    void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
  };
  std::unique_ptr<EVP_CIPHER_CTX, Free> context_;
};

}  // namespace orlop
