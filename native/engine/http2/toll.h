// 11 · data thread · what a peer pays for being read: work, of which each turn has a share for each session, and tokens of its budget.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>

#include "engine/core/clock.h"
#include "engine/http2/budget.h"

namespace orlop {

class Toll {
 public:
  // Units of about 2,000 instructions (frame_cutter.cc): about half a millisecond.
  static constexpr uint32_t kWorkPerTurn = 512;

  explicit Toll(const Clock& clock) : clock_(clock) {}
  // The budget from which tokens are taken from now on. The caller keeps it alive until the next Use, or as long as the toll.
  void Use(Budget* budget) { budget_ = budget; }
  Budget& budget() { return *budget_; }

  // Called before each read, with the number of the turn: a new number gives the session a new share of work, of which `done` is used up.
  void Begin(uint64_t turn, uint32_t done = 0) {
    if (turn == turn_) return;
    turn_ = turn;
    work_done_ = done;
    requests_ = 0;
  }
  void Work(uint32_t units) { work_done_ += units; }
  uint32_t work_left() const { return work_done_ < kWorkPerTurn ? kWorkPerTurn - work_done_ : 0; }
  // May exceed kWorkPerTurn, since a frame is read whole once it has begun.
  uint32_t work_done() const { return work_done_; }
  void CountRequest() { requests_++; }
  // Requests that were counted in this turn.
  uint32_t requests() const { return requests_; }
  // Nothing more is read in this turn.
  bool Stops() const { return work_left() == 0 || wait_ms_ > 0; }

  // Takes a token of the budget. Without one the peer has to wait.
  void Charge(TokenBucket Budget::*bucket, std::string_view nuisance) {
    const uint64_t now = clock_.now_ms();
    const uint64_t wait = (budget_->*bucket).Take(now);
    if (wait == 0) return;
    budget_->FellShort(now, wait);
    wait_ms_ = std::max(wait_ms_, wait);
    nuisance_ = nuisance;
  }
  // Takes tokens for something that is dropped, and does not wait, when there are too few. False: there are too few.
  bool Pays(TokenBucket Budget::*bucket, uint32_t count) {
    return (budget_->*bucket).TakeIf(clock_.now_ms(), count);
  }
  bool waits() const { return wait_ms_ > 0; }
  // Milliseconds for which the peer must not be read from now on; 0: none.
  uint64_t TakeWait() { return std::exchange(wait_ms_, 0); }
  // The name of what the peer last had to wait for.
  std::string_view nuisance() const { return nuisance_; }
  // For how long it has caused more than its budget, in milliseconds.
  uint64_t ShortFor() const { return clock_.now_ms() - budget_->short_since_ms; }
  bool FellShortLately() const { return budget_->FellShortLately(clock_.now_ms()); }

 private:
  const Clock& clock_;
  Budget* budget_ = nullptr;
  uint64_t turn_ = ~0ULL;
  uint32_t work_done_ = 0;
  uint32_t requests_ = 0;
  uint64_t wait_ms_ = 0;
  std::string_view nuisance_;
};

}  // namespace orlop
