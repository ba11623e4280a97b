// bench · records.cc within Node, on the OpenSSL of Node, by the clock: prints the nanoseconds of each measurement in front of its name and
// count. A measurement is short, so it is made often.
#include <node_api.h>

#include <chrono>
#include <cstdio>

int MeasureRecords();

namespace {

constexpr int kRounds = 60;

}  // namespace

extern "C" void orlop_mark() {
  using Clock = std::chrono::steady_clock;
  static Clock::time_point begin;
  static bool begun = false;
  const Clock::time_point now = Clock::now();
  if (begun) printf("%lld ", static_cast<long long>(std::chrono::nanoseconds(now - begin).count()));
  begun = !begun;
  begin = Clock::now();
}

NAPI_MODULE_INIT() {
  int failed = 0;
  for (int i = 0; i < kRounds && failed == 0; i++) failed = MeasureRecords();
  if (failed != 0) napi_throw_error(env, nullptr, "records cannot be measured");
  fflush(stdout);
  return exports;
}
