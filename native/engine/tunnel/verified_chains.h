// data thread · certificate chains that were verified before: the same bytes under the same roots need no second signature check.
// Each handshake still proves that the peer holds the leaf's key.
#pragma once

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <array>
#include <cstdint>
#include <limits>
#include <memory>

#include "engine/core/events.h"

namespace orlop {

using CertificateDigest = std::array<uint8_t, 32>;  // SHA-256 of the DER

// What a chain was verified for.
struct VerifiedChain {
  // Seconds since the epoch in which every certificate of the chain, the root included, is valid. By default none.
  int64_t from = std::numeric_limits<int64_t>::max();
  int64_t until = std::numeric_limits<int64_t>::min();
  // The root, if every other certificate of the chain came from the peer. Zeros otherwise: then other roots mean that the chain is
  // to be verified again, although this root may be among them.
  CertificateDigest root{};
};

// Milliseconds of the wall clock until the chain is no longer valid; not above zero: it is not.
int64_t MsLeft(const VerifiedChain& chain);

// Makes `context` remember the chains that it verifies. `roots` is the number of the set of roots, so that no chain outlives its set.
void RememberVerifiedChains(SSL_CTX* context, Role role, uint32_t roots);

// The verification of the peer of `ssl` writes what it finds there. `into` outlives `ssl`.
void KeepVerifiedChain(SSL* ssl, VerifiedChain* into);

struct FreeChain {
  void operator()(STACK_OF(X509) * chain) const { sk_X509_pop_free(chain, X509_free); }
};
// What the peer sent, its leaf first. Null: nothing, or out of memory.
using SentChain = std::unique_ptr<STACK_OF(X509), FreeChain>;
SentChain SentBy(SSL* ssl);

// How many certificates may lie between leaf and root.
constexpr int kVerifyDepth = 6;

// Verifies `sent` once more under `store`, which is the set of roots with the number `roots`, and writes what it finds to `into`. `role`
// is ours. False: no chain leads from the peer's leaf to such a root now.
bool VerifyAgain(STACK_OF(X509) * sent, Role role, X509_STORE* store, uint32_t roots, VerifiedChain* into);

}  // namespace orlop
