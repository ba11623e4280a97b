// data thread · one wheel for every deadline of an engine. Adding and cancelling cost a list operation and no
// memory.
#pragma once

#include <uv.h>

#include <cstdint>

namespace orlop {

class Timers;

// Lives inside the object that waits; fires once, or not at all when cancelled or destroyed.
class Timer {
 public:
  using Fire = void (*)(void* self);
  Timer(Fire fire, void* self) : fire_(fire), self_(self) {}
  ~Timer() { Cancel(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  void Cancel() {
    if (!prev_) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    prev_ = next_ = nullptr;
  }
  bool Armed() const { return prev_ != nullptr; }

 private:
  friend class Timers;
  Timer() : fire_(nullptr), self_(nullptr) {}
  Timer* prev_ = nullptr;
  Timer* next_ = nullptr;
  uint64_t due_ms_ = 0;
  Fire fire_;
  void* self_;
};

// Resolution 32 ms: a deadline fires up to that much late, never early.
class Timers {
 public:
  explicit Timers(uv_loop_t* loop);
  uv_timer_t* handle() { return &uv_; }
  // (Re)arms `timer`. The loop's own clock is at most one turn old.
  void Start(Timer* timer, uint64_t after_ms);
  // Fires what is due. Called by the engine inside a turn, so that what timers cause is flushed like anything
  // else.
  void Run();
  uint64_t now_ms() const { return uv_now(loop_); }
  // Set by the engine: the wheel wants a turn.
  void (*on_due)(void* self) = nullptr;
  void* on_due_self = nullptr;

 private:
  static constexpr uint64_t kTickMs = 32;
  static constexpr uint64_t kSlots = 512;
  Timer& SlotAt(uint64_t tick) { return slots_[tick % kSlots]; }
  void Arm();
  uv_loop_t* loop_;
  uv_timer_t uv_;
  uint64_t tick_;                // everything before it was fired
  uint64_t armed_tick_ = ~0ULL;  // when the uv timer will call
  bool rang_ = false;            // it has called, and was not armed since
  Timer slots_[kSlots];          // list heads
};

}  // namespace orlop
