// data thread · certificate chains that were verified before: the same bytes under the same roots need no second signature check.
// Each handshake still proves that the peer holds the leaf's key.
#include "engine/tunnel/verified_chains.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <memory>
#include <unordered_map>

namespace orlop {
namespace {

// Only what our own authority signed is remembered, so nobody can fill this at will.
constexpr size_t kMost = 4096;
constexpr int64_t kFarSeconds = 1'000'000'000;

struct DigestHash {
  size_t operator()(const CertificateDigest& digest) const {
    size_t value;
    memcpy(&value, digest.data(), sizeof value);
    return value;
  }
};
using Chains = std::unordered_map<CertificateDigest, VerifiedChain, DigestHash>;

// One per data thread: no lock on the way of a handshake.
Chains& Known() {
  thread_local Chains chains;
  return chains;
}

// Where the verification of a session writes what it found.
int KeptIndex() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

uint64_t VerifiedFor(Role role, uint32_t roots) {
  return uint64_t{roots} << 1 | (role == Role::kServer ? 1 : 0);
}

// What the peer sent, in its order, and for what it was verified.
bool DigestOf(X509_STORE_CTX* chain, uint64_t verified_for, CertificateDigest* out) {
  STACK_OF(X509)* sent = X509_STORE_CTX_get0_untrusted(chain);
  const int count = sk_X509_num(sent);
  std::array<uint8_t, sizeof verified_for + 8 * sizeof *out> bytes;
  if (count < 1 || count > 8) return false;
  memcpy(bytes.data(), &verified_for, sizeof verified_for);
  size_t length = sizeof verified_for;
  for (int i = 0; i < count; i++, length += out->size()) {
    if (X509_digest(sk_X509_value(sent, i), EVP_sha256(), bytes.data() + length, nullptr) != 1) return false;
  }
  return sk_X509_value(sent, 0) == X509_STORE_CTX_get0_cert(chain) &&
         EVP_Digest(bytes.data(), length, out->data(), nullptr, EVP_sha256(), nullptr) == 1;
}

bool SecondsOf(const ASN1_TIME* time, int64_t* out) {
  tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return false;
  *out = timegm(&parts);
  return true;
}

bool ValidityOf(STACK_OF(X509) * chain, VerifiedChain* out) {
  out->from = std::numeric_limits<int64_t>::min();
  out->until = std::numeric_limits<int64_t>::max();
  for (int i = 0; i < sk_X509_num(chain); i++) {
    const X509* certificate = sk_X509_value(chain, i);
    int64_t from = 0, until = 0;
    if (!SecondsOf(X509_get0_notBefore(certificate), &from)) return false;
    if (!SecondsOf(X509_get0_notAfter(certificate), &until)) return false;
    out->from = std::max(out->from, from);
    out->until = std::min(out->until, until);
  }
  return sk_X509_num(chain) > 0;
}

bool WasSent(const X509* certificate, STACK_OF(X509) * sent) {
  for (int i = 0; i < sk_X509_num(sent); i++) {
    if (sk_X509_value(sent, i) == certificate) return true;
  }
  return false;
}

// Zeros when the chain has a certificate beside its root that only the store had.
CertificateDigest RootOf(STACK_OF(X509) * chain, STACK_OF(X509) * sent) {
  const int last = sk_X509_num(chain) - 1;
  for (int i = 0; i < last; i++) {
    if (!WasSent(sk_X509_value(chain, i), sent)) return {};
  }
  CertificateDigest root{};
  if (X509_digest(sk_X509_value(chain, last), EVP_sha256(), root.data(), nullptr) != 1) return {};
  return root;
}

// What cannot be read of a verified chain leaves it without validity: the tunnel ends.
VerifiedChain Found(X509_STORE_CTX* verified) {
  STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(verified);
  VerifiedChain found;
  if (!ValidityOf(chain, &found)) return {};
  found.root = RootOf(chain, X509_STORE_CTX_get0_untrusted(verified));
  return found;
}

int VerifyInto(X509_STORE_CTX* chain, uint64_t verified_for, VerifiedChain* into) {
  CertificateDigest digest;
  const bool known_by_bytes = DigestOf(chain, verified_for, &digest);
  Chains& known = Known();
  if (known_by_bytes) {
    const auto found = known.find(digest);
    const int64_t now = time(nullptr);
    if (found != known.end() && now >= found->second.from && now <= found->second.until) {
      X509_STORE_CTX_set_error(chain, X509_V_OK);
      *into = found->second;
      return 1;
    }
  }
  const int verdict = X509_verify_cert(chain);
  if (verdict != 1) return verdict;
  const VerifiedChain found = Found(chain);
  *into = found;
  if (known_by_bytes && found.from <= found.until) {
    if (known.size() >= kMost) known.clear();
    known[digest] = found;
  }
  return verdict;
}

// In a handshake.
int Verify(X509_STORE_CTX* chain, void* verified_for) {
  const void* ssl = X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx());
  void* into = ssl ? SSL_get_ex_data(static_cast<const SSL*>(ssl), KeptIndex()) : nullptr;
  VerifiedChain nowhere;
  return VerifyInto(chain, reinterpret_cast<uintptr_t>(verified_for),
                    into ? static_cast<VerifiedChain*>(into) : &nowhere);
}

struct FreeStoreContext {
  void operator()(X509_STORE_CTX* context) const { X509_STORE_CTX_free(context); }
};

}  // namespace

int64_t MsLeft(const VerifiedChain& chain) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (chain.until < now.tv_sec) return 0;
  // Valid up to the end of that second.
  const int64_t seconds = std::min(chain.until - now.tv_sec, kFarSeconds) + 1;
  return seconds * 1000 - now.tv_nsec / 1'000'000;
}

void RememberVerifiedChains(SSL_CTX* context, Role role, uint32_t roots) {
  SSL_CTX_set_cert_verify_callback(context, Verify,
                                   reinterpret_cast<void*>(uintptr_t{VerifiedFor(role, roots)}));
}

void KeepVerifiedChain(SSL* ssl, VerifiedChain* into) {
  SSL_set_ex_data(ssl, KeptIndex(), into);
}

// OpenSSL keeps a client's leaf apart from the rest.
SentChain SentBy(SSL* ssl) {
  X509* const leaf = SSL_get0_peer_certificate(ssl);
  SentChain sent(sk_X509_new_null());
  const auto add = [&sent](X509* certificate) {
    if (X509_up_ref(certificate) != 1) return false;
    if (sk_X509_push(sent.get(), certificate) > 0) return true;
    X509_free(certificate);
    return false;
  };
  if (!leaf || !sent || !add(leaf)) return nullptr;
  STACK_OF(X509)* const rest = SSL_get_peer_cert_chain(ssl);
  for (int i = 0; i < sk_X509_num(rest); i++) {
    X509* const certificate = sk_X509_value(rest, i);
    if (certificate != leaf && !add(certificate)) return nullptr;
  }
  return sent;
}

bool VerifyAgain(STACK_OF(X509) * sent, Role role, X509_STORE* store, uint32_t roots, VerifiedChain* into) {
  const std::unique_ptr<X509_STORE_CTX, FreeStoreContext> chain(X509_STORE_CTX_new());
  // As OpenSSL does in the handshake (openssl/openssl:ssl/ssl_cert.c, ssl_verify_cert_chain).
  const bool ready =
      sent && chain && X509_STORE_CTX_init(chain.get(), store, sk_X509_value(sent, 0), sent) == 1 &&
      X509_STORE_CTX_set_default(chain.get(), role == Role::kServer ? "ssl_client" : "ssl_server") == 1;
  if (ready) X509_VERIFY_PARAM_set_depth(X509_STORE_CTX_get0_param(chain.get()), kVerifyDepth);
  const bool trusted = ready && VerifyInto(chain.get(), VerifiedFor(role, roots), into) == 1;
  ERR_clear_error();
  return trusted;
}

}  // namespace orlop
