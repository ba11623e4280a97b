// 10, 11 · data thread · the C library overwrites what is freed while it is asked to, as OpenSSL has no call for it.
#include "engine/tunnel/wiped_free.h"

#include <malloc.h>

#include <mutex>

namespace orlop {

void FreeWiped(SSL* ssl) {
  if (!ssl) return;
  // mallopt is of the whole process: another thread must not end it before this SSL_free has. What that thread frees meanwhile is
  // overwritten, too, which no program may notice. 0.2 µs, of a handshake's 300.
  static auto* const asked = new std::mutex;
  const std::lock_guard<std::mutex> lock(*asked);
  // What is allocated meanwhile is filled with the complement, so with zeros: calloc of another thread would otherwise take such memory for
  // fresh, which needs no zeros, once the perturbing has ended (glibc:malloc/malloc.c, __libc_calloc).
  constexpr int kWith = 0xff;
  mallopt(M_PERTURB, kWith);
  SSL_free(ssl);
  mallopt(M_PERTURB, 0);
}

}  // namespace orlop
