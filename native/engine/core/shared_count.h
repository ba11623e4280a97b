// any thread · something that is counted in a number that several threads may read, until it is counted no more.
#pragma once

#include <cstdint>

namespace orlop {

class SharedCount {
 public:
  SharedCount() = default;
  ~SharedCount() { Leave(); }
  SharedCount(const SharedCount&) = delete;
  SharedCount& operator=(const SharedCount&) = delete;

  // `count` has it already, and outlives it.
  void Holds(int32_t* count) {
    Leave();
    count_ = count;
  }
  void Leave() {
    if (count_) __atomic_sub_fetch(count_, 1, __ATOMIC_SEQ_CST);
    count_ = nullptr;
  }

 private:
  int32_t* count_ = nullptr;
};

}  // namespace orlop
