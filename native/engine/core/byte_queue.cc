// 14 · data thread · bytes in order, in chunks.
#include "engine/core/byte_queue.h"

#include <algorithm>
#include <cstring>

namespace orlop {

void ByteQueue::Append(const uint8_t* bytes, size_t length) {
  size_ += length;
  while (length > 0) {
    if (!tail_ || tail_->end == tail_->size) {
      // Bytes that do not fit into the first chunk are likely to be many, so the next chunk is of full size.
      Chunk* chunk = pool_.Take(tail_ ? Chunk::kSize : length);
      (tail_ ? tail_->next : head_) = chunk;
      tail_ = chunk;
    }
    const size_t part = std::min<size_t>(length, tail_->size - tail_->end);
    memcpy(tail_->data() + tail_->end, bytes, part);
    tail_->end += part;
    bytes += part;
    length -= part;
  }
}

size_t ByteQueue::Read(const Pieces& into) {
  size_t read = 0;
  for (int i = 0; i < into.count; i++) {
    auto* to = static_cast<uint8_t*>(into.list[i].iov_base);
    for (size_t left = std::min(into.list[i].iov_len, size_); left > 0;) {
      const size_t part = std::min<size_t>(left, head_->end - head_->begin);
      memcpy(to, head_->data() + head_->begin, part);
      to += part;
      left -= part;
      read += part;
      Drop(part);
    }
  }
  return read;
}

int ByteQueue::Front(iovec* pieces, int count) const {
  int used = 0;
  for (Chunk* chunk = head_; chunk && used < count; chunk = chunk->next) {
    pieces[used++] = {chunk->data() + chunk->begin, chunk->end - chunk->begin};
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

void ByteQueue::FreeAll() {
  while (head_) {
    Chunk* chunk = head_;
    head_ = chunk->next;
    pool_.Give(chunk);
  }
  tail_ = nullptr;
  size_ = 0;
}

}  // namespace orlop
