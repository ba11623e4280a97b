// any thread · our certificates by integer, for the whole process: the main thread installs them, data threads borrow them.
#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/core/events.h"
#include "engine/tunnel/verified_chains.h"

namespace orlop {

struct FreeContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using Context = std::unique_ptr<SSL_CTX, FreeContext>;

// Each returns an empty text, or why not. Nothing changes then.
std::string InstallIdentity(int32_t identity, std::string_view chain_pem, const uint8_t* pkcs8,
                            size_t length);
std::string InstallRoots(std::string_view pem);
void DropIdentity(int32_t identity);
// Whether a client that offers X25519MLKEM768 without a key share is asked for it (HelloRetryRequest, RFC 8446 4.1.4), which costs it
// a round trip. For contexts that are made afterwards; true at first.
void AskForHybrid(bool ask);

// Whether the peer of a finished handshake, who sent `sent`, would be verified now. `verified` is what KeepVerifiedChain gave; it is
// renewed when the root in it is no longer installed and another chain leads to a root that is. `role` is ours.
bool IsPeerTrusted(STACK_OF(X509) * sent, Role role, VerifiedChain* verified);

// A reference for one handshake, with the certificate and roots of this moment; null: not installed.
Context BorrowContext(int32_t identity, Role role);

}  // namespace orlop
