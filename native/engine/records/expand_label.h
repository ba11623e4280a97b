// 10, 11 · data thread · HKDF-Expand-Label (RFC 8446 7.1).
#pragma once

#include <openssl/evp.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace orlop {

// `label` without its "tls13 ", at most 12 bytes long; the context is empty; `length` is at most that of the digest. False: it is not,
// or OpenSSL refused.
bool ExpandLabel(const EVP_MD* digest, const uint8_t* secret, size_t secret_length, std::string_view label,
                 uint8_t* out, size_t length);

}  // namespace orlop
