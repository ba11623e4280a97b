// 10, 11 · data thread · one direction of TLS 1.3's record protection (RFC 8446 5.2, 5.3): a traffic secret, the cipher that is made of
// it, and the number of the next record.
#pragma once

#include <openssl/evp.h>

#include <cstddef>
#include <cstdint>

#include "engine/records/aes_gcm.h"
#include "engine/records/secret_arena.h"

namespace orlop {

enum class CipherSuite { kAes128GcmSha256, kAes256GcmSha384 };

class RecordCipher {
 public:
  static constexpr size_t kHeader = 5;
  static constexpr size_t kTag = AesGcm::kTag;
  using Use = AesGcm::Use;

  // `secret` outlives it and has the first secret. False: OpenSSL refused, and nothing may be sealed or opened.
  bool Start(CipherSuite suite, Use use, TrafficSecret* secret);
  // The next secret (RFC 8446 7.2); its first record has the number 0. False: as Start.
  bool Update();
  // `record` has `length` bytes of content behind room for a header. It becomes header, ciphertext (of TLSInnerPlaintext without padding:
  // content and type) and tag: kHeader + length + 1 + kTag bytes. False: nothing may be sealed any more. Whether it worked or not, the
  // number is used.
  bool Seal(uint8_t* record, size_t length, uint8_t type);
  // `record` is a header and `sealed` bytes, the last of them a tag. They are opened where they lie, behind the header. False: the tag is
  // wrong, and what was opened is wiped.
  bool Open(uint8_t* record, size_t sealed);
  // Records since the first or the last Update.
  uint64_t records() const { return next_; }

 private:
  bool UseSecret();
  bool TakeNonce(uint8_t (&nonce)[AesGcm::kNonce]);
  const EVP_MD* digest_ = nullptr;
  const EVP_CIPHER* aead_ = nullptr;
  Use use_ = Use::kSeal;
  TrafficSecret* secret_ = nullptr;
  AesGcm cipher_;
  uint64_t next_ = 0;
};

}  // namespace orlop
