// 11 · data thread · token buckets: how much of each nuisance a tunnel's peer may cause
// (docs/reference/failures.md, rows A1 to A4).
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

// One per tunnel. What costs the peer as much as us is not budgeted: one thread takes 20,000 CONNECTs a
// second.
struct Budget {
  TokenBucket control{200, 50};                // PING, SETTINGS, PRIORITY, unknown types
  TokenBucket empty_data{200, 50};             // DATA without payload or end
  TokenBucket window_updates{20'000, 20'000};  // a peer may send one per DATA frame it reads
  TokenBucket early_resets{1'000, 300};        // RST_STREAM before our answer: rapid reset
  TokenBucket resets{20'000, 50'000};          // RST_STREAM of connections that stood
  TokenBucket provoked_resets{100, 20};        // RST_STREAM we had to send because of the peer
};

}  // namespace orlop
