// 14 · data thread · memory for bytes in flight: chunks that exist only while a socket is slower than its peer.
#pragma once

#include <cstddef>
#include <cstdint>

namespace orlop {

struct Chunk {
  static constexpr size_t kSize = 32 * 1024 - 16;
  Chunk* next;
  uint32_t begin;
  uint32_t end;
  uint8_t data[kSize];
};

// Keeps a few chunks for reuse and counts all that are out.
class ChunkPool {
 public:
  ChunkPool() = default;
  ~ChunkPool();
  ChunkPool(const ChunkPool&) = delete;
  ChunkPool& operator=(const ChunkPool&) = delete;
  Chunk* Take();
  void Give(Chunk* chunk);
  size_t bytes_in_use() const { return in_use_ * sizeof(Chunk); }

 private:
  static constexpr size_t kKept = 32;
  Chunk* free_ = nullptr;
  size_t free_count_ = 0;
  size_t in_use_ = 0;
};

}  // namespace orlop
