// 14 · data thread · chunks.
#include "engine/core/chunk_pool.h"

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

}  // namespace orlop
