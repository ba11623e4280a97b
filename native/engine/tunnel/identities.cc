// any thread · certificates, keys and roots become SSL_CTX here, once per installation and not per handshake.
#include "engine/tunnel/identities.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "engine/tunnel/tls_session.h"

namespace orlop {
namespace {

// A peer's certificates, in their message. A chain of four with P-256 keys is 2 KB long.
constexpr long kMostCertificateBytes = 16 * 1024;

template <typename T, void (*Free)(T*)>
struct Freer {
  void operator()(T* object) const { Free(object); }
};
using Certificate = std::unique_ptr<X509, Freer<X509, X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY, EVP_PKEY_free>>;
using Store = std::unique_ptr<X509_STORE, Freer<X509_STORE, X509_STORE_free>>;

struct Identity {
  std::vector<Certificate> chain;
  Key key;
  Context server;
  Context client;
};

// Never destroyed: a data thread may end after static destructors ran.
struct Registry {
  std::mutex mutex;
  bool ask_for_hybrid = true;
  std::unordered_map<int32_t, Identity> identities;
  Store roots;
  std::vector<CertificateDigest> digests;  // of the roots
  // How many sets of roots were installed so far.
  uint32_t generation = 0;
};
Registry& TheRegistry() {
  static auto* const registry = new Registry;
  return *registry;
}

std::string Reason(const char* what) {
  char text[160] = "";
  if (const unsigned long error = ERR_peek_last_error()) ERR_error_string_n(error, text, sizeof text);
  ERR_clear_error();
  return *text ? std::string(what) + ": " + text : std::string(what);
}

// Every certificate of a PEM text; empty when any of them cannot be read.
std::vector<Certificate> ReadCertificates(std::string_view pem) {
  std::vector<Certificate> out;
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  while (X509* read = bio ? PEM_read_bio_X509(bio, nullptr, nullptr, nullptr) : nullptr)
    out.emplace_back(read);
  const bool ended = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (!ended) out.clear();
  BIO_free(bio);
  if (!out.empty()) ERR_clear_error();
  return out;
}

int ChooseH2(SSL*, const unsigned char** out, unsigned char* length, const unsigned char* in,
             unsigned in_length, void*) {
  static const unsigned char kH2[] = {2, 'h', '2'};
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, length, kH2, sizeof kH2, in, in_length) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

// X25519MLKEM768 first. A client sends the key share of the second group as well, so that a server without ML-KEM costs no further
// round trip. A slash ends a set of equal groups: a server that asks takes the first set that the client supports at all, and asks
// with a HelloRetryRequest when there is no key share of it. ztunnel's clients are of this kind.
const char* GroupsOf(Role role, bool ask_for_hybrid) {
  return role == Role::kServer && ask_for_hybrid ? "X25519MLKEM768/X25519:P-256"
                                                 : "*X25519MLKEM768:*X25519:P-256";
}

// TLS 1.3, and nothing that would let a session outlive a revoked certificate: no tickets, no cache, no early data.
Context MakeContext(const Identity& identity, X509_STORE* roots, uint32_t generation, Role role,
                    bool ask_for_hybrid) {
  Context context(SSL_CTX_new(role == Role::kServer ? TLS_server_method() : TLS_client_method()));
  SSL_CTX* raw = context.get();
  if (!raw) return nullptr;
  // Compressing the client's certificate would cost 1.3 ms a handshake with Node's brotli-enabled OpenSSL.
  SSL_CTX_set_options(raw, SSL_OP_NO_TX_CERTIFICATE_COMPRESSION | SSL_OP_NO_RX_CERTIFICATE_COMPRESSION |
                               SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_num_tickets(raw, 0);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_max_early_data(raw, 0);
  // The chain goes out as it was installed. OpenSSL would build it from the roots and verify it in each handshake.
  SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_read_ahead(raw, 0);
  SSL_CTX_set_verify(raw, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_verify_depth(raw, kVerifyDepth);
  SSL_CTX_set_max_cert_list(raw, kMostCertificateBytes);
  RememberVerifiedChains(raw, role, generation);
  TlsSession::KeepSecrets(raw);
  bool ok = SSL_CTX_set_min_proto_version(raw, TLS1_3_VERSION) &&
            SSL_CTX_set_max_proto_version(raw, TLS1_3_VERSION) &&
            SSL_CTX_set_ciphersuites(raw, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384") &&
            SSL_CTX_set1_groups_list(raw, GroupsOf(role, ask_for_hybrid)) &&
            SSL_CTX_use_certificate(raw, identity.chain[0].get()) == 1;
  SSL_CTX_set1_cert_store(raw, roots);
  ok = ok && SSL_CTX_use_PrivateKey(raw, identity.key.get()) == 1 && SSL_CTX_check_private_key(raw) == 1;
  for (size_t i = 1; ok && i < identity.chain.size(); i++) {
    ok = SSL_CTX_add1_chain_cert(raw, identity.chain[i].get()) == 1;
  }
  if (!ok) return nullptr;
  if (role == Role::kServer) {
    SSL_CTX_set_alpn_select_cb(raw, ChooseH2, nullptr);
  } else {
    static const unsigned char kOffer[] = {2, 'h', '2'};
    if (SSL_CTX_set_alpn_protos(raw, kOffer, sizeof kOffer) != 0) return nullptr;
  }
  return context;
}

}  // namespace

std::string InstallIdentity(int32_t id, std::string_view chain_pem, const uint8_t* pkcs8, size_t length) {
  Identity identity;
  identity.chain = ReadCertificates(chain_pem);
  if (identity.chain.empty()) return Reason("the certificate chain is no PEM");
  const unsigned char* cursor = pkcs8;
  identity.key.reset(d2i_AutoPrivateKey(nullptr, &cursor, static_cast<long>(length)));
  if (!identity.key) return Reason("the key is no PKCS#8");
  Registry& registry = TheRegistry();
  const std::lock_guard<std::mutex> lock(registry.mutex);
  if (!registry.roots) return "no roots are installed yet";
  identity.server = MakeContext(identity, registry.roots.get(), registry.generation, Role::kServer,
                                registry.ask_for_hybrid);
  identity.client = MakeContext(identity, registry.roots.get(), registry.generation, Role::kClient, false);
  if (!identity.server || !identity.client) return Reason("the certificate and key make no TLS context");
  registry.identities[id] = std::move(identity);
  return "";
}

std::string InstallRoots(std::string_view pem) {
  const std::vector<Certificate> roots = ReadCertificates(pem);
  if (roots.empty()) return Reason("the roots are no PEM");
  Store store(X509_STORE_new());
  std::vector<CertificateDigest> digests(roots.size());
  for (size_t i = 0; i < roots.size(); i++) {
    if (!store || X509_STORE_add_cert(store.get(), roots[i].get()) != 1 ||
        X509_digest(roots[i].get(), EVP_sha256(), digests[i].data(), nullptr) != 1) {
      return Reason("a root cannot be used");
    }
  }
  Registry& registry = TheRegistry();
  const std::lock_guard<std::mutex> lock(registry.mutex);
  std::unordered_map<int32_t, std::pair<Context, Context>> renewed;
  for (const auto& [id, identity] : registry.identities) {
    Context server =
        MakeContext(identity, store.get(), registry.generation + 1, Role::kServer, registry.ask_for_hybrid);
    Context client = MakeContext(identity, store.get(), registry.generation + 1, Role::kClient, false);
    if (!server || !client) return Reason("an identity cannot be used with the new roots");
    renewed[id] = {std::move(server), std::move(client)};
  }
  for (auto& [id, contexts] : renewed) {
    registry.identities[id].server = std::move(contexts.first);
    registry.identities[id].client = std::move(contexts.second);
  }
  registry.roots = std::move(store);
  registry.digests = std::move(digests);
  registry.generation++;
  return "";
}

void AskForHybrid(bool ask) {
  Registry& registry = TheRegistry();
  const std::lock_guard<std::mutex> lock(registry.mutex);
  registry.ask_for_hybrid = ask;
}

void DropIdentity(int32_t id) {
  Registry& registry = TheRegistry();
  const std::lock_guard<std::mutex> lock(registry.mutex);
  registry.identities.erase(id);
}

bool IsPeerTrusted(STACK_OF(X509) * sent, Role role, VerifiedChain* verified) {
  Registry& registry = TheRegistry();
  Store store;
  uint32_t generation = 0;
  {
    const std::lock_guard<std::mutex> lock(registry.mutex);
    if (std::find(registry.digests.begin(), registry.digests.end(), verified->root) != registry.digests.end())
      return true;
    if (!registry.roots || X509_STORE_up_ref(registry.roots.get()) != 1) return false;
    store.reset(registry.roots.get());
    generation = registry.generation;
  }
  // Outside the lock: signatures take time, and other threads shake hands.
  return VerifyAgain(sent, role, store.get(), generation, verified);
}

Context BorrowContext(int32_t id, Role role) {
  Registry& registry = TheRegistry();
  const std::lock_guard<std::mutex> lock(registry.mutex);
  const auto found = registry.identities.find(id);
  if (found == registry.identities.end()) return nullptr;
  SSL_CTX* context = (role == Role::kServer ? found->second.server : found->second.client).get();
  SSL_CTX_up_ref(context);
  return Context(context);
}

}  // namespace orlop
