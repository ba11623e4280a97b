// 14 · data thread · the memory that the connections of an engine share, and its limit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/core/chunk_pool.h"
#include "engine/core/read_pieces.h"
#include "engine/core/scratch.h"

namespace orlop {

class Buffers {
 public:
  ChunkPool chunks;
  ReadPiecesPool pieces;
  // Bytes of heads that are held outside of chunks.
  size_t heads = 0;
  // Bytes that sessions of HTTP/2 have for frames that wait.
  size_t frames = 0;
  size_t bytes() const { return chunks.bytes_in_use() + heads + frames; }
  Scratch& scratch() const { return *scratch_; }
  // How many bytes may wait for slow sockets.
  void SetBudget(size_t bytes) {
    overloaded_ = bytes / 100 * 80;
    exhausted_ = bytes / 100 * 95;
    pods_part_ = bytes / 4;
  }
  // So many bytes wait that the engine takes no new connection or request.
  bool Overloaded() const { return bytes() > overloaded_; }
  // Still more wait: the engine ends connections.
  bool Exhausted() const { return bytes() > exhausted_; }
  // How long bytes may wait in a relay for an end that takes none of them, in milliseconds; 0: for ever.
  void SetUnread(uint64_t ms) { unread_ms_ = ms; }
  uint64_t unread_ms() const { return unread_ms_; }
  // Bytes that the requests of a single pod may hold while memory is short.
  size_t pods_part() const { return pods_part_; }

 private:
  std::unique_ptr<Scratch> scratch_{new Scratch};
  // Per thread; a tunnel alone may hold its connection window of 16 MiB.
  static constexpr size_t kBudget = 512u << 20;
  // In bytes. Kept, since each turn asks.
  size_t overloaded_ = kBudget / 100 * 80;
  size_t exhausted_ = kBudget / 100 * 95;
  size_t pods_part_ = kBudget / 4;
  uint64_t unread_ms_ = 3'600'000;
};

}  // namespace orlop
