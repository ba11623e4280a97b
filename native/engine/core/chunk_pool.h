// 14 · data thread · memory for bytes in flight: chunks that exist only while a socket is slower than its peer, or until the turn is over.
#pragma once

#include <cstddef>
#include <cstdint>

namespace orlop {

// With its bytes behind it.
struct Chunk {
  // Of memory, and of that what is for bytes.
  static constexpr size_t kBytes = 32 * 1024;
  static constexpr size_t kSize = kBytes - 24;
  // Of a message as most are. No power of two: the beginnings of many of them would share a few places of the processor's cache.
  static constexpr size_t kSmallBytes = 4'048;
  static constexpr size_t kSmallSize = kSmallBytes - 24;

  explicit Chunk(size_t most) : size(static_cast<uint32_t>(most)) {}
  uint8_t* data() { return reinterpret_cast<uint8_t*>(this + 1); }
  bool is_small() const { return size == kSmallSize; }

  Chunk* next = nullptr;
  uint32_t begin = 0;
  uint32_t end = 0;
  uint32_t size;
};
static_assert(sizeof(Chunk) == Chunk::kBytes - Chunk::kSize);

// Keeps a few chunks for reuse and counts all that are out.
class ChunkPool {
 public:
  ChunkPool() = default;
  ~ChunkPool();
  ChunkPool(const ChunkPool&) = delete;
  ChunkPool& operator=(const ChunkPool&) = delete;
  // A small chunk where it has room for `length` bytes.
  Chunk* Take(size_t length);
  void Give(Chunk* chunk);
  size_t bytes_in_use() const { return in_use_; }

 private:
  struct Free {
    Chunk* first = nullptr;
    size_t count = 0;
  };
  static void DeleteAll(Free& free);
  // Of the small as many as there are requests in a busy turn.
  static constexpr size_t kKept = 32;
  static constexpr size_t kKeptSmall = 128;
  Free large_, small_;
  size_t in_use_ = 0;
};

}  // namespace orlop
