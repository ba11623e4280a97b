// 10, 11 · data thread · a fatal alert behind a finished handshake (RFC 8446 6.2). A peer's identity is judged when its handshake is
// over, and then OpenSSL has no call for any alert but close_notify.
#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/records/record_cipher.h"

namespace orlop {

// Nothing: it is not TLS 1.3, or no suite of ours.
std::optional<CipherSuite> SuiteOf(const SSL* ssl);

// What seals the first record of our side: an alert in its place. Forgotten as soon as the peer is welcome.
class AlertSecret {
 public:
  static constexpr size_t kRecord = 24;

  AlertSecret() = default;
  ~AlertSecret() { Forget(); }
  AlertSecret(const AlertSecret&) = delete;
  AlertSecret& operator=(const AlertSecret&) = delete;

  // A line of SSL_CTX_set_keylog_callback. Ours is the secret of what this side seals; others are passed over.
  void Take(std::string_view line, bool server);
  void Forget();
  // The record. 0: there is no secret, or the session is not TLS 1.3 with AES-GCM. Nothing may have been sealed before.
  size_t Seal(const SSL* ssl, uint8_t description, uint8_t (&out)[kRecord]);

 private:
  TrafficSecret secret_{};
};

}  // namespace orlop
