// 11 · data thread · a token bucket: a burst, and then so many a second. What is missing is owed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace orlop {

class TokenBucket {
 public:
  constexpr TokenBucket(uint32_t burst, uint32_t per_second)
      : burst_(int64_t{burst} * kThousandths), per_second_(per_second), tokens_(burst_) {}
  // Takes a token, or owes it. Milliseconds until nothing is owed; 0: there was a token.
  uint64_t Take(uint64_t now_ms) {
    Refill(now_ms);
    tokens_ -= kThousandths;
    return tokens_ >= 0 ? 0 : static_cast<uint64_t>((-tokens_ + per_second_ - 1) / per_second_);
  }
  // False: there are not as many, and none is taken.
  bool TakeIf(uint64_t now_ms, uint32_t count) {
    Refill(now_ms);
    const int64_t wanted = int64_t{count} * kThousandths;
    if (tokens_ < wanted) return false;
    tokens_ -= wanted;
    return true;
  }
  // Adds thousandths of a token.
  void Give(size_t thousandths) { tokens_ = std::min(burst_, tokens_ + static_cast<int64_t>(thousandths)); }

 private:
  void Refill(uint64_t now_ms) {
    if (now_ms <= at_ms_) return;
    const uint64_t passed = std::min<uint64_t>(now_ms - at_ms_, kLongMs);
    tokens_ = std::min(burst_, tokens_ + static_cast<int64_t>(passed) * per_second_);
    at_ms_ = now_ms;
  }
  // A second's rate is a thousandth of it each millisecond.
  static constexpr int64_t kThousandths = 1'000;
  static constexpr uint64_t kLongMs = 3'600'000;
  int64_t burst_;
  int64_t per_second_;
  int64_t tokens_;
  uint64_t at_ms_ = 0;
};

}  // namespace orlop
