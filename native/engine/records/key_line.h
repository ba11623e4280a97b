// 10, 11 · data thread · the lines that OpenSSL gives SSL_CTX_set_keylog_callback: LABEL, client random, secret in hexadecimal digits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace orlop {

enum class KeySide { kClient, kServer, kOther };

// Whose first traffic secret of application data the line has.
KeySide SideOfKeyLine(std::string_view line);
// The bytes of the secret, into `out`, and how many; 0, and `out` is wiped: it is not in hexadecimal digits, or longer than `most`.
size_t SecretOfKeyLine(std::string_view line, uint8_t* out, size_t most);

}  // namespace orlop
