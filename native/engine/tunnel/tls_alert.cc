// 10, 11 · data thread · the record of an alert, with sequence number 0.
#include "engine/tunnel/tls_alert.h"

#include <openssl/crypto.h>

#include <cstring>

#include "engine/records/key_line.h"
#include "engine/records/record_cipher.h"

namespace orlop {

void AlertSecret::Take(std::string_view line, bool server) {
  if (SideOfKeyLine(line) != (server ? KeySide::kServer : KeySide::kClient)) return;
  secret_.length = static_cast<uint32_t>(SecretOfKeyLine(line, secret_.bytes, sizeof secret_.bytes));
}

void AlertSecret::Forget() {
  OPENSSL_cleanse(&secret_, sizeof secret_);
}

size_t AlertSecret::Seal(const SSL* ssl, uint8_t description, uint8_t (&out)[kRecord]) {
  constexpr uint8_t kFatal = 2;
  constexpr uint8_t kAlert = 21;
  const uint8_t alert[] = {kFatal, description};
  memcpy(out + RecordCipher::kHeader, alert, sizeof alert);
  const std::optional<CipherSuite> suite = SuiteOf(ssl);
  RecordCipher cipher;
  const bool made = secret_.length > 0 && suite && cipher.Start(*suite, RecordCipher::Use::kSeal, &secret_) &&
                    cipher.Seal(out, sizeof alert, kAlert);
  Forget();
  return made ? kRecord : 0;
}

std::optional<CipherSuite> SuiteOf(const SSL* ssl) {
  const SSL_CIPHER* const cipher = SSL_version(ssl) == TLS1_3_VERSION ? SSL_get_current_cipher(ssl) : nullptr;
  const uint32_t id = cipher ? SSL_CIPHER_get_id(cipher) : 0;
  if (id == TLS1_3_CK_AES_128_GCM_SHA256) return CipherSuite::kAes128GcmSha256;
  if (id == TLS1_3_CK_AES_256_GCM_SHA384) return CipherSuite::kAes256GcmSha384;
  return std::nullopt;
}

}  // namespace orlop
