// data thread · chains that were verified before: the same bytes under the same roots need no second
// signature check. That the peer holds the leaf's key is proved anew by each handshake.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>

#include "engine/core/events.h"

namespace orlop {

// Makes `context` remember. `roots` is another number for each set of roots, so that none outlives its own.
void RememberVerifiedChains(SSL_CTX* context, Role role, uint32_t roots);

}  // namespace orlop
