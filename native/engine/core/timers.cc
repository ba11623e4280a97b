// data thread · the wheel: 512 slots of one tick each. A deadline beyond one turn of the wheel stays in its slot and is passed over.
#include "engine/core/timers.h"

namespace orlop {

Timers::Timers(uv_loop_t* loop, const Clock& clock, uint64_t tick_ms, void (*due)(void* self), void* self)
    : clock_(clock), tick_ms_(tick_ms), due_(due), due_self_(self), tick_(clock.now_ms() / tick_ms) {
  uv_timer_init(loop, &uv_);
  uv_.data = this;
}

void Timers::Start(Timer* timer, uint64_t after_ms) {
  timer->Cancel();
  const uint64_t now = clock_.now_ms();
  timer->due_ms_ = now + after_ms;
  if (!Armed()) tick_ = now / tick_ms_;
  const uint64_t tick = timer->due_ms_ / tick_ms_ + 1;
  SlotAt(tick).PushBack(timer);
  if (tick < armed_tick_) Arm();
}

// Sleeps until the next slot that holds anything; an empty wheel wakes nobody.
void Timers::Arm() {
  rang_ = false;
  for (uint64_t tick = tick_; tick < tick_ + kSlots; tick++) {
    if (SlotAt(tick).empty()) continue;
    armed_tick_ = tick;
    const uint64_t at = tick * tick_ms_;
    const uint64_t now = clock_.now_ms();
    uv_timer_start(
        &uv_,
        [](uv_timer_t* handle) {
          auto* self = static_cast<Timers*>(handle->data);
          self->armed_tick_ = ~0ULL;
          self->rang_ = true;
          self->due_(self->due_self_);
        },
        at > now ? at - now : 0, 0);
    return;
  }
  armed_tick_ = ~0ULL;
}

void Timers::RunDue() {
  const uint64_t now = clock_.now_ms();
  const uint64_t now_tick = now / tick_ms_;
  if (now_tick < tick_) {
    // A turn came just before the libuv timer that was meant for it: what is left still wants a call.
    if (rang_) Arm();
    return;
  }
  // A pause longer than the wheel visits every slot once, not more.
  if (now_tick - tick_ > kSlots) tick_ = now_tick - kSlots;
  for (; tick_ <= now_tick; tick_++) {
    const Slot& slot = SlotAt(tick_);
    Slot due;
    for (Timer* timer = slot.First(); timer;) {
      Timer* next = slot.Next(timer);
      if (timer->due_ms_ <= now) {
        timer->Cancel();
        due.PushBack(timer);
      }
      timer = next;
    }
    // A timer's work may cancel others that are due, so they are taken from the list as they fire.
    while (Timer* timer = due.PopFront()) timer->fire_(timer->self_);
  }
  if (armed_tick_ == ~0ULL) Arm();
}

}  // namespace orlop
