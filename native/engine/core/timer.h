// data thread · a deadline. It lives inside the object that waits, and fires once, or not at all when cancelled or destroyed.
#pragma once

#include <cstdint>

#include "engine/core/list.h"

namespace orlop {

class Timer : public Hook<Timer> {
 public:
  using Fire = void (*)(void* self);
  Timer(Fire fire, void* self) : fire_(fire), self_(self) {}
  void Cancel() { Remove(); }
  bool armed() const { return linked(); }

 private:
  friend class Timers;
  uint64_t due_ms_ = 0;
  Fire fire_;
  void* self_;
};

}  // namespace orlop
