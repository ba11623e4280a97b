// data thread · a deadline that is put off or called off far more often than it fires. That costs two stores: it stays in the wheel
// where it is, and is looked at when its first time has come.
#pragma once

#include <cstdint>

#include "engine/core/services.h"
#include "engine/core/timer.h"

namespace orlop {

// Of Timers of timeouts. It fires once, up to a tick late and never early; not at all when cancelled or destroyed.
class LazyTimer {
 public:
  LazyTimer(const EngineServices& services, Timer::Fire fire, void* self)
      : services_(services), fire_(fire), self_(self) {}
  LazyTimer(const LazyTimer&) = delete;
  LazyTimer& operator=(const LazyTimer&) = delete;

  // Sets the deadline anew if the timer is armed already.
  void Start(uint64_t after_ms) {
    due_ms_ = services_.clock.now_ms() + after_ms;
    if (!timer_.armed() || due_ms_ < looked_at_ms_) Place(after_ms);
  }
  void Cancel() { due_ms_ = kNever; }

 private:
  static constexpr uint64_t kNever = ~0ULL;
  void Place(uint64_t after_ms) {
    looked_at_ms_ = due_ms_;
    services_.timers.Start(&timer_, after_ms);
  }
  void Look() {
    if (due_ms_ == kNever) return;
    const uint64_t now = services_.clock.now_ms();
    if (due_ms_ > now) return Place(due_ms_ - now);
    due_ms_ = kNever;
    fire_(self_);
  }

  const EngineServices& services_;
  uint64_t due_ms_ = kNever;
  uint64_t looked_at_ms_ = 0;  // while the timer is armed
  Timer::Fire fire_;
  void* self_;
  Timer timer_{[](void* self) { static_cast<LazyTimer*>(self)->Look(); }, this};
};

}  // namespace orlop
