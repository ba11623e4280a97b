// 14 · data thread · bytes where they lie, or room for some: in one piece or in several.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace orlop {

struct Pieces {
  const iovec* list = nullptr;
  int count = 0;
  size_t bytes = 0;
};

// As much of `from` as there is room for; how many bytes.
inline size_t CopyPieces(const Pieces& from, const Pieces& into) {
  size_t copied = 0;
  size_t filled = 0;
  int to = 0;
  for (int i = 0; i < from.count; i++) {
    const auto* bytes = static_cast<const uint8_t*>(from.list[i].iov_base);
    for (size_t left = from.list[i].iov_len; left > 0 && to < into.count;) {
      const iovec& room = into.list[to];
      const size_t part = std::min(left, room.iov_len - filled);
      memcpy(static_cast<uint8_t*>(room.iov_base) + filled, bytes, part);
      bytes += part;
      left -= part;
      copied += part;
      filled += part;
      if (filled < room.iov_len) continue;
      filled = 0;
      to++;
    }
  }
  return copied;
}

}  // namespace orlop
