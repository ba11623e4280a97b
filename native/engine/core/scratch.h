// 14 · data thread · what one turn works in. Nothing survives here from one connection to the next.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

namespace orlop {

struct Scratch {
  static constexpr size_t kRead = 128 * 1024;
  static constexpr size_t kPlainOut = 128 * 1024;
  static constexpr int kPieces = 16;
  uint8_t read[kRead];                        // a socket's bytes: application bytes or TLS records
  uint8_t plain_in[kRead + 32 * 1024];        // those records opened
  uint8_t plain_out[kPlainOut];               // HTTP/2 frames to seal
  uint8_t cipher_out[kPlainOut + 64 * 1024];  // and sealed: 22 bytes more per 16 KiB, and handshake messages
  size_t cipher_length = 0;
  iovec pieces[kPieces];  // the front of a queue
};

}  // namespace orlop
