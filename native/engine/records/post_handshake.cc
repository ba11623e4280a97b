// 10, 11 · data thread · tickets are dropped, key updates are found, everything else is refused.
#include "engine/records/post_handshake.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>

namespace orlop {
namespace {

constexpr size_t kMostTicket = 64 * 1024;

}  // namespace

PostHandshake::Found PostHandshake::Refuse(uint8_t alert, const char* reason) {
  alert_ = alert;
  reason_ = reason;
  return Found::kRefused;
}

bool PostHandshake::OnHead() {
  left_ = static_cast<size_t>(head_[1]) << 16 | static_cast<size_t>(head_[2]) << 8 | head_[3];
  if (head_[0] == SSL3_MT_KEY_UPDATE) {
    if (left_ == 1) return true;
    Refuse(SSL_AD_DECODE_ERROR, "a key update of a wrong length");
  } else if (head_[0] != SSL3_MT_NEWSESSION_TICKET || server_) {
    // A CertificateRequest among them: we do not offer post_handshake_auth (RFC 8446 4.6.2).
    Refuse(SSL_AD_UNEXPECTED_MESSAGE, "a message that may not follow the handshake");
  } else if (left_ > kMostTicket) {
    Refuse(SSL_AD_DECODE_ERROR, "a ticket that is too long");
  } else {
    return true;
  }
  return false;
}

PostHandshake::Found PostHandshake::Take(const uint8_t* bytes, size_t length) {
  if (length == 0) return Refuse(SSL_AD_UNEXPECTED_MESSAGE, "an empty record of handshake messages");
  while (length > 0) {
    if (head_length_ < kHead) {
      const size_t part = std::min(kHead - head_length_, length);
      memcpy(head_ + head_length_, bytes, part);
      head_length_ += part;
      bytes += part;
      length -= part;
      if (head_length_ < kHead) break;
      if (!OnHead()) return Found::kRefused;
    }
    const size_t part = std::min(left_, length);
    const uint8_t* const body = bytes;
    bytes += part;
    length -= part;
    left_ -= part;
    if (left_ > 0) break;
    head_length_ = 0;
    messages_++;
    if (head_[0] != SSL3_MT_KEY_UPDATE) continue;
    if (length > 0) return Refuse(SSL_AD_UNEXPECTED_MESSAGE, "a key update that does not end its record");
    if (*body > SSL_KEY_UPDATE_REQUESTED)
      return Refuse(SSL_AD_ILLEGAL_PARAMETER, "a key update of no known kind");
    return *body == SSL_KEY_UPDATE_REQUESTED ? Found::kKeyUpdateAsking : Found::kKeyUpdate;
  }
  return Found::kNothing;
}

}  // namespace orlop
