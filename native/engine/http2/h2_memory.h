// 10, 11 · data thread · what nghttp2 has of the heap for a session: tables, streams, and frames that wait for a peer that does not read.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstddef>

namespace orlop {

// Outlives its session.
class H2Memory {
 public:
  H2Memory();
  H2Memory(const H2Memory&) = delete;
  H2Memory& operator=(const H2Memory&) = delete;

  nghttp2_mem* table() { return &table_; }
  size_t bytes() const { return bytes_; }

 private:
  // As malloc(3) and the others.
  static void* Allocate(size_t size, void* self);
  static void Free(void* at, void* self);
  static void* AllocateZeros(size_t count, size_t size, void* self);
  static void* Change(void* at, size_t size, void* self);
  void* Counted(void* at);

  size_t bytes_ = 0;
  nghttp2_mem table_;
};

}  // namespace orlop
