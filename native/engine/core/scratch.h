// 14 · data thread · what one turn works in. Nothing survives here from one connection to the next.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

#include "engine/core/parted_room.h"

namespace orlop {

struct Scratch {
  static constexpr size_t kRead = 128 * 1024;
  // TLS records as peers like ourselves fill them: 16 KiB of payload each. A buffer that ends where a record does leaves none torn.
  static constexpr size_t kRecords = PartedRoom::kMostParts * PartedRoom::kRecord;
  static constexpr int kPieces = 16;
  uint8_t read[kRead];                     // an application's bytes
  uint8_t records[kRecords];               // TLS records; our record layer opens them where they lie
  uint8_t plain_in[kRecords + 32 * 1024];  // what OpenSSL's opened of them
  // HTTP/2 frames to seal, which our record layer does where they lie.
  uint8_t room[PartedRoom::BytesOf(PartedRoom::kMostParts)];
  uint8_t cipher_out[kRecords +
                     64 * 1024];  // what OpenSSL has sealed of them, alerts, and messages of a handshake
  size_t cipher_length = 0;
  iovec pieces[kPieces];  // the front of a queue
};

}  // namespace orlop
