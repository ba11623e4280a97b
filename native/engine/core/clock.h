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
  // Microseconds of the kernel's clock, which is read once for what is done at a stretch: at most until Forget.
  uint64_t now_us() const {
    if (us_ == 0) us_ = uv_hrtime() / 1000;
    return us_;
  }
  // Time has gone by.
  void Forget() { us_ = 0; }

 private:
  uv_loop_t* loop_;
  mutable uint64_t us_ = 0;
};

}  // namespace orlop
