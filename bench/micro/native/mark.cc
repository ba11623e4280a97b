// bench · instructions · where a measured stretch begins and ends: callgrind
// writes its counts down at each call.
extern "C" __attribute__((noinline)) void orlop_mark() {
  asm volatile("" ::: "memory");
}
