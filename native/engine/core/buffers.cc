// 14 · data thread · chunks and queues of them.
#include "engine/core/buffers.h"

#include <algorithm>
#include <cstring>

namespace orlop {

ChunkPool::~ChunkPool() {
  while (free_) {
    Chunk* chunk = free_;
    free_ = chunk->next;
    delete chunk;
  }
}

Chunk* ChunkPool::Take() {
  in_use_++;
  Chunk* chunk = free_;
  if (chunk) {
    free_ = chunk->next;
    free_count_--;
  } else {
    chunk = new Chunk;
  }
  chunk->next = nullptr;
  chunk->begin = chunk->end = 0;
  return chunk;
}

void ChunkPool::Give(Chunk* chunk) {
  in_use_--;
  if (free_count_ == kKept) {
    delete chunk;
    return;
  }
  chunk->next = free_;
  free_ = chunk;
  free_count_++;
}

void ByteQueue::Append(const uint8_t* bytes, size_t length) {
  size_ += length;
  while (length > 0) {
    if (!tail_ || tail_->end == Chunk::kSize) {
      Chunk* chunk = pool_.Take();
      (tail_ ? tail_->next : head_) = chunk;
      tail_ = chunk;
    }
    const size_t part = std::min(length, Chunk::kSize - tail_->end);
    memcpy(tail_->data + tail_->end, bytes, part);
    tail_->end += part;
    bytes += part;
    length -= part;
  }
}

int ByteQueue::Front(iovec* pieces, int count) const {
  int used = 0;
  for (Chunk* chunk = head_; chunk && used < count; chunk = chunk->next) {
    pieces[used++] = {chunk->data + chunk->begin, chunk->end - chunk->begin};
  }
  return used;
}

void ByteQueue::Drop(size_t length) {
  size_ -= length;
  while (length > 0) {
    const size_t part = std::min<size_t>(length, head_->end - head_->begin);
    head_->begin += part;
    length -= part;
    if (head_->begin != head_->end) break;
    Chunk* empty = head_;
    head_ = empty->next;
    if (!head_) tail_ = nullptr;
    pool_.Give(empty);
  }
}

void ByteQueue::Clear() {
  while (head_) {
    Chunk* chunk = head_;
    head_ = chunk->next;
    pool_.Give(chunk);
  }
  tail_ = nullptr;
  size_ = 0;
}

}  // namespace orlop
