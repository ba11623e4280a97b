// data thread · the wheel: 512 slots of 32 ms; a deadline beyond one turn of the wheel stays in its slot and
// is passed over.
#include "engine/core/timers.h"

namespace orlop {

Timers::Timers(uv_loop_t* loop) : loop_(loop), tick_(uv_now(loop) / kTickMs) {
  for (Timer& head : slots_) head.prev_ = head.next_ = &head;
  uv_timer_init(loop, &uv_);
  uv_.data = this;
}

void Timers::Start(Timer* timer, uint64_t after_ms) {
  timer->Cancel();
  timer->due_ms_ = now_ms() + after_ms;
  const uint64_t tick = timer->due_ms_ / kTickMs + 1;
  Timer& head = SlotAt(tick);
  timer->prev_ = head.prev_;
  timer->next_ = &head;
  head.prev_->next_ = timer;
  head.prev_ = timer;
  if (tick < armed_tick_) Arm();
}

// Sleeps until the next slot that holds anything; an empty wheel wakes nobody.
void Timers::Arm() {
  rang_ = false;
  for (uint64_t tick = tick_; tick < tick_ + kSlots; tick++) {
    if (SlotAt(tick).next_ == &SlotAt(tick)) continue;
    armed_tick_ = tick;
    const uint64_t at = tick * kTickMs;
    const uint64_t now = now_ms();
    uv_timer_start(
        &uv_,
        [](uv_timer_t* handle) {
          auto* self = static_cast<Timers*>(handle->data);
          self->armed_tick_ = ~0ULL;
          self->rang_ = true;
          self->on_due(self->on_due_self);
        },
        at > now ? at - now : 0, 0);
    return;
  }
  armed_tick_ = ~0ULL;
}

void Timers::Run() {
  const uint64_t now_tick = now_ms() / kTickMs;
  if (now_tick < tick_) {
    // A turn came just before the uv timer that was meant for it: what is left still wants one.
    if (rang_) Arm();
    return;
  }
  // A pause longer than the wheel visits every slot once, not more.
  if (now_tick - tick_ > kSlots) tick_ = now_tick - kSlots;
  for (; tick_ <= now_tick; tick_++) {
    Timer& head = SlotAt(tick_);
    Timer due;
    due.prev_ = due.next_ = &due;
    for (Timer* timer = head.next_; timer != &head;) {
      Timer* next = timer->next_;
      if (timer->due_ms_ <= now_ms()) {
        timer->Cancel();
        timer->prev_ = due.prev_;
        timer->next_ = &due;
        due.prev_->next_ = timer;
        due.prev_ = timer;
      }
      timer = next;
    }
    // A timer's work may cancel others that are due: take them one by one.
    while (due.next_ != &due) {
      Timer* timer = due.next_;
      timer->Cancel();
      timer->fire_(timer->self_);
    }
    due.prev_ = due.next_ = nullptr;
  }
  if (armed_tick_ == ~0ULL) Arm();
}

}  // namespace orlop
