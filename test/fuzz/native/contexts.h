// fuzz · TLS contexts as identities.cc makes them, with a certificate that either side believes, and the input as it is read.
#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>

namespace orlop::fuzz {

// Ends the process.
[[noreturn]] void Fail(const char* what);

struct Contexts {
  SSL_CTX* server;
  SSL_CTX* client;
  // AES-256 is all that it offers; between the others AES-128 is chosen.
  SSL_CTX* wide_client;
};
// The same in each call.
const Contexts& TheContexts();

struct Input {
  const uint8_t* at;
  size_t left;
  uint8_t Byte() {
    if (left == 0) return 0;
    left--;
    return *at++;
  }
};

}  // namespace orlop::fuzz
