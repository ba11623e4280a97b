// 11 · data thread · a token bucket: a burst, and then so many a second.
#pragma once

#include <algorithm>
#include <cstdint>

namespace orlop {

class TokenBucket {
 public:
  constexpr TokenBucket(uint32_t burst, uint32_t per_second)
      : burst_(burst), per_second_(per_second), tokens_(burst) {}
  // False: the bucket is empty.
  bool Take(uint64_t now_ms, uint32_t count = 1) {
    if (now_ms > at_ms_) {
      const uint64_t gained = (now_ms - at_ms_) * per_second_ / 1000;
      if (gained > 0 || at_ms_ == 0) {
        tokens_ = static_cast<uint32_t>(std::min<uint64_t>(burst_, tokens_ + gained));
        at_ms_ = now_ms;
      }
    }
    if (tokens_ < count) return false;
    tokens_ -= count;
    return true;
  }

 private:
  uint32_t burst_;
  uint32_t per_second_;
  uint32_t tokens_;
  uint64_t at_ms_ = 0;
};

}  // namespace orlop
