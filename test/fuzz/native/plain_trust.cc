// fuzz · in place of identities.cc: every peer is trusted.
#include "engine/tunnel/identities.h"

namespace orlop {

bool IsPeerTrusted(STACK_OF(X509) *, Role, VerifiedChain *) {
  return true;
}

}  // namespace orlop
