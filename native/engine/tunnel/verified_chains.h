// data thread · certificate chains that were verified before: the same bytes under the same roots need no second signature check.
// Each handshake still proves that the peer holds the leaf's key.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>

#include "engine/core/events.h"

namespace orlop {

// Makes `context` remember the chains that it verifies. `roots` is the number of the set of roots, so that no chain outlives its set.
void RememberVerifiedChains(SSL_CTX* context, Role role, uint32_t roots);

}  // namespace orlop
