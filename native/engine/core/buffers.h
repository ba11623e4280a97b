// 14 · data thread · memory for bytes in flight: chunks that exist only while a socket is slower than its
// peer.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>

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
  ~ChunkPool();
  Chunk* Take();
  void Give(Chunk* chunk);
  size_t bytes_in_use() const { return in_use_ * sizeof(Chunk); }

 private:
  static constexpr size_t kKept = 32;
  Chunk* free_ = nullptr;
  size_t free_count_ = 0;
  size_t in_use_ = 0;
};

// Bytes in order, front to back. Empty: no memory.
class ByteQueue {
 public:
  explicit ByteQueue(ChunkPool& pool) : pool_(pool) {}
  ~ByteQueue() { Clear(); }
  ByteQueue(const ByteQueue&) = delete;
  ByteQueue& operator=(const ByteQueue&) = delete;
  void Append(const uint8_t* bytes, size_t length);
  // The front as at most `count` pieces; how many.
  int Front(iovec* pieces, int count) const;
  void Drop(size_t length);
  void Clear();
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

 private:
  ChunkPool& pool_;
  Chunk* head_ = nullptr;
  Chunk* tail_ = nullptr;
  size_t size_ = 0;
};

// What one turn works in; nothing survives here from one connection to the next.
struct Scratch {
  static constexpr size_t kRead = 128 * 1024;
  static constexpr size_t kPlainOut = 128 * 1024;
  uint8_t read[kRead];                        // a socket's bytes: application bytes or TLS records
  uint8_t plain_in[kRead + 32 * 1024];        // those records opened
  uint8_t plain_out[kPlainOut];               // HTTP/2 frames to seal
  uint8_t cipher_out[kPlainOut + 64 * 1024];  // and sealed: 22 bytes more per 16 KiB, and handshake messages
  size_t cipher_length = 0;
};

}  // namespace orlop
