// 10, 11 · data thread · the end of OpenSSL's session object.
#pragma once

#include <openssl/ssl.h>

namespace orlop {

// SSL_free, and what `ssl` was is overwritten. OpenSSL itself leaves the secrets of TLS 1.3 in the freed memory, the master secret and those
// of application data among them (openssl/openssl:ssl/ssl_lib.c, SSL_free). Null is nothing.
void FreeWiped(SSL* ssl);

}  // namespace orlop
