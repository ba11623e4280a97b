// data thread · a wheel for deadlines. Adding and cancelling cost a list operation and no memory.
#pragma once

#include <uv.h>

#include <cstdint>

#include "engine/core/clock.h"
#include "engine/core/list.h"
#include "engine/core/timer.h"

namespace orlop {

// A deadline fires up to one tick late, never early.
class Timers {
 public:
  // For timeouts, of which there are many; and for pauses of milliseconds, of which there are few.
  static constexpr uint64_t kTimeoutTickMs = 32;
  static constexpr uint64_t kPauseTickMs = 1;
  // `due(self)` is called when the wheel wants a turn.
  Timers(uv_loop_t* loop, const Clock& clock, uint64_t tick_ms, void (*due)(void* self), void* self);
  uv_timer_t* handle() { return &uv_; }
  // Arms `timer`, also when it is armed already. The clock is at most one turn old.
  void Start(Timer* timer, uint64_t after_ms);
  // Fires what is due. The engine calls it inside a turn, so that what timers cause is written like anything else.
  void Run() {
    if (Armed()) RunDue();
  }

 private:
  static constexpr uint64_t kSlots = 512;
  using Slot = List<Timer, Timer>;
  Slot& SlotAt(uint64_t tick) { return slots_[tick % kSlots]; }
  // False: no slot holds anything.
  bool Armed() const { return armed_tick_ != ~0ULL || rang_; }
  void RunDue();
  void Arm();
  const Clock& clock_;
  const uint64_t tick_ms_;
  void (*due_)(void* self);
  void* due_self_;
  uv_timer_t uv_;
  uint64_t tick_;                // everything before it was fired
  uint64_t armed_tick_ = ~0ULL;  // when the libuv timer will call
  bool rang_ = false;            // it has called, and was not armed since
  Slot slots_[kSlots];
};

}  // namespace orlop
