// data thread · the time of a thread, in two resolutions.
#pragma once

#include <uv.h>

#include <cstdint>

namespace orlop {

class Clock {
 public:
  explicit Clock(uv_loop_t* loop) : loop_(loop) {}
  // Milliseconds; the time at which the thread woke up, so it costs a load.
  uint64_t now_ms() const { return uv_now(loop_); }
  // Microseconds, read from the kernel's clock.
  uint64_t now_us() const { return uv_hrtime() / 1000; }

 private:
  uv_loop_t* loop_;
};

}  // namespace orlop
