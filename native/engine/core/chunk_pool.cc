// 14 · data thread · chunks.
#include "engine/core/chunk_pool.h"

#include <new>

namespace orlop {

ChunkPool::~ChunkPool() {
  DeleteAll(large_);
  DeleteAll(small_);
}

void ChunkPool::DeleteAll(Free& free) {
  while (Chunk* const chunk = free.first) {
    free.first = chunk->next;
    ::operator delete(chunk);
  }
}

Chunk* ChunkPool::Take(size_t length) {
  const bool small = length <= Chunk::kSmallSize;
  const size_t bytes = small ? Chunk::kSmallBytes : Chunk::kBytes;
  in_use_ += bytes;
  Free& free = small ? small_ : large_;
  void* memory = free.first;
  if (memory) {
    free.first = free.first->next;
    free.count--;
  } else {
    memory = ::operator new(bytes);
  }
  return new (memory) Chunk(bytes - sizeof(Chunk));
}

void ChunkPool::Give(Chunk* chunk) {
  in_use_ -= sizeof(Chunk) + chunk->size;
  Free& free = chunk->is_small() ? small_ : large_;
  if (free.count == (chunk->is_small() ? kKeptSmall : kKept)) return ::operator delete(chunk);
  chunk->next = free.first;
  free.first = chunk;
  free.count++;
}

}  // namespace orlop
