// fuzz · deadlines that are put off, called off and destroyed at random, beside a plain list of times: each fires once, at its last
// time or up to a tick behind it, whether the thread sleeps until its timer or has turns for other reasons. Time is this file's.
// `lazy-timers [seed] [rounds]`.
#include <uv.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "engine/core/lazy_timer.h"
#include "world.h"

namespace {

uint64_t g_now_ms = 1;

// The last timer that a wheel asked libuv for; no callback: it has rung.
struct Alarm {
  uv_timer_t* handle = nullptr;
  uv_timer_cb ring = nullptr;
  uint64_t at_ms = 0;
};
Alarm g_alarm;

}  // namespace

// The linker puts them in place of libuv's, for the engine's sources alone.
extern "C" uint64_t __wrap_uv_now(const uv_loop_t*) {
  return g_now_ms;
}
extern "C" int __wrap_uv_timer_start(uv_timer_t* handle, uv_timer_cb ring, uint64_t after_ms, uint64_t) {
  g_alarm = {handle, ring, g_now_ms + after_ms};
  return 0;
}

namespace orlop::contracts {
namespace {

constexpr uint64_t kTickMs = Timers::kTimeoutTickMs;
constexpr uint64_t kTurnOfWheelMs = 512 * kTickMs;
constexpr size_t kMostTimers = 12;
constexpr size_t kMostTurns = 21;
constexpr size_t kMostRings = kMostTimers * (kMostTurns + 1);

class Deadlines {
 public:
  explicit Deadlines(Random& random) : random_(random), all_(1 + Below(random, kMostTimers)) {
    for (Deadline& deadline : all_) Make(deadline);
  }
  void Play(size_t steps) {
    for (size_t step = 0; step < steps; step++) {
      for (size_t acts = Below(random_, 4); acts > 0; acts--) Act(all_[Below(random_, all_.size())]);
      Below(random_, 3) == 0 ? Sleep() : Pass();
    }
    // Nothing comes after the last deadline.
    while (FirstDue()) Sleep();
    const size_t fired = fired_;
    // Each that was put off or called off may be looked at once more, a turn of the wheel at a time; then nobody is woken.
    for (size_t rings = 0; g_alarm.ring != nullptr; rings++) {
      Expect(rings < kMostRings, "an empty wheel to wake nobody");
      Ring();
    }
    Expect(fired == fired_, "nothing to fire that is not armed");
  }
  size_t fired() const { return fired_; }

 private:
  struct Deadline {
    Deadlines* all = nullptr;
    std::unique_ptr<LazyTimer> timer;
    std::optional<uint64_t> due_ms;  // what it was armed for last
  };

  void Make(Deadline& deadline) {
    deadline.all = this;
    deadline.due_ms.reset();
    deadline.timer = std::make_unique<LazyTimer>(
        world_.services(),
        [](void* self) {
          auto* const deadline = static_cast<Deadline*>(self);
          deadline->all->OnFired(*deadline);
        },
        &deadline);
  }
  void Act(Deadline& deadline) {
    switch (Below(random_, 8)) {
      case 0:
        return Make(deadline);
      case 1:
        deadline.timer->Cancel();
        deadline.due_ms.reset();
        return;
      default:
        const uint64_t after_ms = After();
        deadline.timer->Start(after_ms);
        deadline.due_ms = g_now_ms + after_ms;
    }
  }
  uint64_t After() {
    switch (Below(random_, 4)) {
      case 0:
        return Below(random_, 3);
      case 1:
        return Below(random_, 3 * kTickMs);
      case 2:
        return Below(random_, kTurnOfWheelMs);
      default:
        return kTurnOfWheelMs - kTickMs + Below(random_, (kMostTurns - 1) * kTurnOfWheelMs);
    }
  }
  void OnFired(Deadline& deadline) {
    fired_++;
    Expect(deadline.due_ms.has_value(), "a deadline that is called off, or was met, not to fire");
    Expect(*deadline.due_ms <= g_now_ms, "no deadline before its time");
    deadline.due_ms.reset();
    // As its owner might: it is armed again or ends, or another does.
    if (Below(random_, 2) == 0) Act(deadline);
    if (Below(random_, 4) == 0) Act(all_[Below(random_, all_.size())]);
  }
  // The thread sleeps until the wheel's timer rings.
  void Sleep() {
    if (!FirstDue()) return Pass();
    Expect(g_alarm.ring != nullptr, "a wheel with a deadline to be woken");
    Ring();
    ExpectInTime();
  }
  static void Ring() {
    if (g_alarm.at_ms > g_now_ms) g_now_ms = g_alarm.at_ms;
    std::exchange(g_alarm.ring, nullptr)(g_alarm.handle);
  }
  // A turn for another reason, and perhaps long after the last: then all that was due fires.
  void Pass() {
    g_now_ms += Below(random_, 6) == 0 ? Below(random_, 3 * kTurnOfWheelMs) : Below(random_, 3 * kTickMs);
    if (g_alarm.ring != nullptr && g_alarm.at_ms <= g_now_ms) {
      std::exchange(g_alarm.ring, nullptr)(g_alarm.handle);
    } else {
      world_.Turn();
    }
    ExpectInTime();
  }
  void ExpectInTime() const {
    for (const Deadline& deadline : all_)
      Expect(!deadline.due_ms || g_now_ms < *deadline.due_ms + kTickMs, "a deadline to fire within a tick");
  }
  bool FirstDue() const {
    for (const Deadline& deadline : all_)
      if (deadline.due_ms) return true;
    return false;
  }

  Random& random_;
  World world_;
  std::vector<Deadline> all_;
  size_t fired_ = 0;
};

int Main(int argc, char** argv) {
  const auto seed = argc > 1 ? static_cast<uint32_t>(strtoul(argv[1], nullptr, 10)) : 1;
  const size_t rounds = argc > 2 ? strtoul(argv[2], nullptr, 10) : 1;
  SetSeed(seed);
  Random random(seed);
  size_t fired = 0;
  for (size_t round = 0; round < rounds; round++) {
    g_alarm = {};
    Deadlines deadlines(random);
    deadlines.Play(200);
    fired += deadlines.fired();
  }
  Expect(fired > rounds, "deadlines to fire at all");
  printf("%zu rounds\n", rounds);
  return 0;
}

}  // namespace
}  // namespace orlop::contracts

int main(int argc, char** argv) {
  return orlop::contracts::Main(argc, argv);
}
