// 14 · data thread · bytes that wait, in the order in which they came.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/core/chunk_pool.h"
#include "engine/core/pieces.h"

namespace orlop {

// An empty queue holds no memory.
class ByteQueue {
 public:
  explicit ByteQueue(ChunkPool& pool) : pool_(pool) {}
  ~ByteQueue() { Clear(); }
  ByteQueue(const ByteQueue&) = delete;
  ByteQueue& operator=(const ByteQueue&) = delete;
  void Append(const uint8_t* bytes, size_t length);
  // Copies the front and drops it; how many bytes.
  size_t Read(const Pieces& into);
  // The front as at most `count` pieces; how many.
  int Front(iovec* pieces, int count) const;
  void Drop(size_t length);
  void Clear() {
    if (head_) FreeAll();
  }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

 private:
  void FreeAll();
  ChunkPool& pool_;
  Chunk* head_ = nullptr;
  Chunk* tail_ = nullptr;
  size_t size_ = 0;
};

}  // namespace orlop
