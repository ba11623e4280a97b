// 10, 11 · data thread · a fatal alert behind a finished handshake (RFC 8446 6.2). A peer's identity is judged when its handshake is
// over, and then OpenSSL has no call for any alert but close_notify.
#pragma once

#include <openssl/ssl.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace orlop {

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
  std::array<uint8_t, 48> secret_{};
  size_t length_ = 0;
};

}  // namespace orlop
