// 14 · data thread · what one turn works in. Nothing survives here from one connection to the next.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

namespace orlop {

struct Scratch {
  static constexpr size_t kRead = 128 * 1024;
  // TLS records as peers like ourselves fill them: 16 KiB of payload each. A buffer that ends where a record does leaves none torn.
  static constexpr size_t kFullRecord = 16 * 1024 + 22;
  static constexpr size_t kRecords = 16 * kFullRecord;
  static constexpr size_t kPlainOut = 128 * 1024;
  static constexpr int kPieces = 16;
  uint8_t read[kRead];                        // an application's bytes
  uint8_t records[kRecords];                  // TLS records; our record layer opens them where they lie
  uint8_t plain_in[kRecords + 32 * 1024];     // what OpenSSL's opened of them
  uint8_t plain_out[kPlainOut];               // HTTP/2 frames to seal
  uint8_t cipher_out[kPlainOut + 64 * 1024];  // and sealed: 22 bytes more per 16 KiB, and handshake messages
  size_t cipher_length = 0;
  iovec pieces[kPieces];  // the front of a queue
};

}  // namespace orlop
