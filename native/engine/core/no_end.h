// 16 · data thread · an end of bytes where nobody is, yet or any more: it says nothing and takes nothing.
#pragma once

#include <cerrno>

#include "engine/core/byte_end.h"

namespace orlop {

// Without state: an instance serves everybody.
class NoEnd final : public ByteEnd {
 public:
  int Front(Pieces*) override { return 0; }
  void Drop(size_t) override {}
  ssize_t Read(const Pieces&) override { return -EAGAIN; }
  bool readable() const override { return false; }
  bool ended() const override { return false; }
  bool pulls() const override { return false; }
  ssize_t Write(const Pieces&) override { return 0; }
  void Wake() override {}
  bool writable() const override { return false; }
  void ShutWrite() override {}
  // True, so that no half-close is waited for.
  bool shut() const override { return true; }
  void Reset() override {}
  size_t buffered() const override { return 0; }
};

}  // namespace orlop
