// fuzz · contexts.
#include "contexts.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <cstdio>
#include <cstdlib>

namespace orlop::fuzz {
namespace {

int ChooseH2(SSL*, const unsigned char** out, unsigned char* length, const unsigned char* in, unsigned size,
             void*) {
  static const unsigned char wanted[] = {2, 'h', '2'};
  unsigned char* chosen = nullptr;
  const int found = SSL_select_next_proto(&chosen, length, wanted, sizeof wanted, in, size);
  *out = chosen;
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

// As identities.cc makes them, but for the groups, which Debian's OpenSSL does not have.
SSL_CTX* MakeContext(bool server, const char* suites, EVP_PKEY* key, X509* certificate) {
  SSL_CTX* context = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_num_tickets(context, 0);
  if (SSL_CTX_set_ciphersuites(context, suites) != 1) Fail("no suites");
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_use_certificate(context, certificate);
  SSL_CTX_use_PrivateKey(context, key);
  X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate);
  if (server) {
    SSL_CTX_set_alpn_select_cb(context, ChooseH2, nullptr);
  } else {
    SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>("\2h2"), 3);
  }
  return context;
}

Contexts Make() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 1L << 30);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("fuzz"), -1, -1, 0);
  X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
  X509_set_pubkey(certificate, key);
  if (X509_sign(certificate, key, EVP_sha256()) == 0) Fail("no certificate");
  constexpr const char* kSuites = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
  const Contexts made{MakeContext(true, kSuites, key, certificate),
                      MakeContext(false, kSuites, key, certificate),
                      MakeContext(false, "TLS_AES_256_GCM_SHA384", key, certificate)};
  X509_free(certificate);
  EVP_PKEY_free(key);
  return made;
}

}  // namespace

void Fail(const char* what) {
  fprintf(stderr, "fuzz: %s\n", what);
  abort();
}

const Contexts& TheContexts() {
  static const auto* const contexts = new Contexts(Make());
  return *contexts;
}

}  // namespace orlop::fuzz
