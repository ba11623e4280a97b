// data thread · certificate chains that were verified before: the same bytes under the same roots need no second signature check.
// Each handshake still proves that the peer holds the leaf's key.
#include "engine/tunnel/verified_chains.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>
#include <limits>
#include <unordered_map>

namespace orlop {
namespace {

// Only what our own authority signed is remembered, so nobody can fill this at will.
constexpr size_t kMost = 4096;

using Digest = std::array<uint8_t, 32>;
struct DigestHash {
  size_t operator()(const Digest& digest) const {
    size_t value;
    memcpy(&value, digest.data(), sizeof value);
    return value;
  }
};
// Seconds since the epoch in which every certificate of the chain is valid.
struct Validity {
  time_t from = std::numeric_limits<time_t>::min();
  time_t until = std::numeric_limits<time_t>::max();
};
using Chains = std::unordered_map<Digest, Validity, DigestHash>;

// One per data thread: no lock on the way of a handshake.
Chains& Known() {
  thread_local Chains chains;
  return chains;
}

// What the peer sent, in its order, and for what it was verified.
bool DigestOf(X509_STORE_CTX* chain, uint64_t verified_for, Digest* out) {
  STACK_OF(X509)* sent = X509_STORE_CTX_get0_untrusted(chain);
  const int count = sk_X509_num(sent);
  std::array<uint8_t, sizeof verified_for + 8 * std::tuple_size<Digest>::value> bytes;
  if (count < 1 || count > 8) return false;
  memcpy(bytes.data(), &verified_for, sizeof verified_for);
  size_t length = sizeof verified_for;
  for (int i = 0; i < count; i++, length += out->size()) {
    if (X509_digest(sk_X509_value(sent, i), EVP_sha256(), bytes.data() + length, nullptr) != 1) return false;
  }
  return sk_X509_value(sent, 0) == X509_STORE_CTX_get0_cert(chain) &&
         EVP_Digest(bytes.data(), length, out->data(), nullptr, EVP_sha256(), nullptr) == 1;
}

bool SecondsOf(const ASN1_TIME* time, time_t* out) {
  tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return false;
  *out = timegm(&parts);
  return true;
}

bool ValidityOf(X509_STORE_CTX* verified, Validity* out) {
  STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(verified);
  for (int i = 0; i < sk_X509_num(chain); i++) {
    const X509* one = sk_X509_value(chain, i);
    time_t from = 0, until = 0;
    if (!SecondsOf(X509_get0_notBefore(one), &from) || !SecondsOf(X509_get0_notAfter(one), &until))
      return false;
    out->from = std::max(out->from, from);
    out->until = std::min(out->until, until);
  }
  return sk_X509_num(chain) > 0;
}

int Verify(X509_STORE_CTX* chain, void* verified_for) {
  Digest digest;
  const bool known_by_bytes = DigestOf(chain, reinterpret_cast<uintptr_t>(verified_for), &digest);
  Chains& known = Known();
  if (known_by_bytes) {
    const auto found = known.find(digest);
    const time_t now = time(nullptr);
    if (found != known.end() && now >= found->second.from && now <= found->second.until) {
      X509_STORE_CTX_set_error(chain, X509_V_OK);
      return 1;
    }
  }
  const int verdict = X509_verify_cert(chain);
  Validity validity;
  if (verdict == 1 && known_by_bytes && ValidityOf(chain, &validity)) {
    if (known.size() >= kMost) known.clear();
    known[digest] = validity;
  }
  return verdict;
}

}  // namespace

void RememberVerifiedChains(SSL_CTX* context, Role role, uint32_t roots) {
  const uint64_t verified_for = uint64_t{roots} << 1 | (role == Role::kServer ? 1 : 0);
  SSL_CTX_set_cert_verify_callback(context, Verify, reinterpret_cast<void*>(uintptr_t{verified_for}));
}

}  // namespace orlop
