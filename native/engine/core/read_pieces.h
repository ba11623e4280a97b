// 14 · data thread · where the payload of one stream lies in the buffer of this read. Streams borrow it for the read alone, so that an
// idle connection does not hold it.
#pragma once

#include <sys/uio.h>

#include <cstddef>

namespace orlop {

struct ReadPieces {
  static constexpr int kMost = 24;
  ReadPieces* next = nullptr;  // while it is free
  int count = 0;
  size_t bytes = 0;
  iovec list[kMost];
};

// As many as streams had payload in one read; kept for the next reads.
class ReadPiecesPool {
 public:
  ReadPiecesPool() = default;
  ~ReadPiecesPool() {
    while (free_) delete Pop();
  }
  ReadPiecesPool(const ReadPiecesPool&) = delete;
  ReadPiecesPool& operator=(const ReadPiecesPool&) = delete;
  ReadPieces* Take() { return free_ ? Pop() : new ReadPieces; }
  void Give(ReadPieces* pieces) {
    pieces->count = 0;
    pieces->bytes = 0;
    pieces->next = free_;
    free_ = pieces;
  }

 private:
  ReadPieces* Pop() {
    ReadPieces* first = free_;
    free_ = first->next;
    return first;
  }
  ReadPieces* free_ = nullptr;
};

}  // namespace orlop
