// 10 · data thread · when to try again what a peer has refused: full jitter below 5 ms, doubled with each refusal up to 250 ms.
#pragma once

#include <algorithm>
#include <cstdint>

namespace orlop {

class Backoff {
 public:
  bool Waits(uint64_t now_ms) const { return now_ms < until_ms_; }
  uint64_t until_ms() const { return until_ms_; }
  // Refusals that come while it waits already belong to the same try. `random` is uniform over its type.
  void Failed(uint64_t now_ms, uint32_t random) {
    if (Waits(now_ms)) return;
    const uint32_t most = std::min(kMostMs, kLeastMs << failures_);
    if (most < kMostMs) failures_++;
    until_ms_ = now_ms + 1 + random % most;
  }
  void Worked() { failures_ = 0; }

 private:
  static constexpr uint32_t kLeastMs = 5;
  static constexpr uint32_t kMostMs = 250;
  uint32_t failures_ = 0;
  uint64_t until_ms_ = 0;
};

}  // namespace orlop
