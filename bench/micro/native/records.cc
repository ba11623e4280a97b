// bench · instructions · one TLS record sealed and opened by tls_session.cc, of 1 KB and of 16 KB, after a whole mutual handshake, by
// OpenSSL's record layer and by ours. With Debian's OpenSSL: what it counts beside ours changes with that package alone.
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "engine/tunnel/tls_session.h"

extern "C" void orlop_mark();

namespace {

using orlop::Role;
using orlop::Scratch;
using orlop::TlsSession;

constexpr int kWarm = 20;
constexpr int kMeasured = 200;

[[noreturn]] void Fail(const char* what) {
  fprintf(stderr, "records: %s\n", what);
  exit(1);
}

SSL_CTX* MakeContext(Role role, EVP_PKEY* key, X509* certificate) {
  SSL_CTX* context = SSL_CTX_new(role == Role::kServer ? TLS_server_method() : TLS_client_method());
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256");
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_use_certificate(context, certificate);
  SSL_CTX_use_PrivateKey(context, key);
  X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate);
  TlsSession::KeepSecrets(context);
  return context;
}

X509* SelfSigned(EVP_PKEY* key) {
  X509* certificate = X509_new();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 1L << 30);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("bench"), -1, -1, 0);
  X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
  X509_set_pubkey(certificate, key);
  if (X509_sign(certificate, key, EVP_sha256()) == 0) Fail("no certificate");
  return certificate;
}

// One end, with a turn's buffers of its own.
struct End {
  std::unique_ptr<Scratch> scratch = std::make_unique<Scratch>();
  TlsSession session;

  End(Role role, SSL_CTX* context) {
    if (!session.Open(context, role, scratch.get())) Fail("no session");
  }
  // Gives what it has to the other end's handshake. True when that is done.
  bool Shake(End& other) {
    other.session.Feed(scratch->cipher_out, scratch->cipher_length);
    const TlsSession::Step step = other.session.Handshake();
    scratch->cipher_length = 0;
    if (step == TlsSession::Step::kFailed) Fail(other.session.message().c_str());
    return step == TlsSession::Step::kDone;
  }
};

void Carry(End& from, End& to, const std::vector<uint8_t>& bytes) {
  orlop::PartedRoom room(from.scratch->room, 1);
  // It is sealed where it lies, whatever it is.
  room.Took(bytes.size());
  if (!from.session.Write(&room)) Fail("it does not seal");
  room.sealed() > 0 ? to.session.Feed(room.Record(0), room.sealed())
                    : to.session.Feed(from.scratch->cipher_out, from.scratch->cipher_length);
  size_t got = 0;
  TlsSession::Step step = TlsSession::Step::kDone;
  while (step == TlsSession::Step::kDone) {
    TlsSession::Plain plain;
    step = to.session.Read(&plain);
    got += plain.length;
  }
  from.scratch->cipher_length = 0;
  if (got != bytes.size()) Fail("other bytes arrived than were sent");
}

void Measure(const char* name, End& from, End& to, size_t length) {
  const std::vector<uint8_t> bytes(length, 'x');
  for (int i = 0; i < kWarm; i++) Carry(from, to, bytes);
  orlop_mark();
  for (int i = 0; i < kMeasured; i++) Carry(from, to, bytes);
  orlop_mark();
  printf("%s %d\n", name, kMeasured);
}

void MeasureBoth(SSL_CTX* client_context, SSL_CTX* server_context, bool own) {
  if (TlsSession::UseOwnRecords(own, 2) != 0) Fail("no memory may be locked");
  End client(Role::kClient, client_context);
  End server(Role::kServer, server_context);
  client.session.Handshake();
  while (!client.Shake(server)) server.Shake(client);
  Measure(own ? "record-1k" : "record-1k-openssl", client, server, 1'024);
  Measure(own ? "record-16k" : "record-16k-openssl", client, server, 16'384);
}

}  // namespace

int main() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = SelfSigned(key);
  SSL_CTX* const client = MakeContext(Role::kClient, key, certificate);
  SSL_CTX* const server = MakeContext(Role::kServer, key, certificate);
  MeasureBoth(client, server, false);
  MeasureBoth(client, server, true);
  return 0;
}
