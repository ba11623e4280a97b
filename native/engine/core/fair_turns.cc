// data thread · shares of a turn.
#include "engine/core/fair_turns.h"

#include <algorithm>

namespace orlop {

void FairTurns::Fill(Queue* queue, uint64_t turn) const {
  if (queue->turn_ == turn) return;
  // A new queue has a whole share, since it owes nothing.
  const auto turns = static_cast<int64_t>(std::min<uint64_t>(turn - queue->turn_, kMostOwed));
  queue->turn_ = turn;
  queue->left_ = static_cast<int32_t>(std::min<int64_t>(queue->left_ + turns * share_, share_));
}

bool FairTurns::Ask(Queue* queue, Waiter* waiter, int32_t cost, uint64_t turn) {
  if (waiter->linked()) return false;
  Fill(queue, turn);
  if (queue->waiting_.empty() && queue->left_ > 0) {
    queue->left_ -= cost;
    return true;
  }
  waiter->cost_ = cost;
  queue->waiting_.PushBack(waiter);
  if (!queue->linked()) queues_.PushBack(queue);
  return false;
}

void FairTurns::Spend(Queue* queue, int32_t cost, uint64_t turn) const {
  Fill(queue, turn);
  queue->left_ = std::max(queue->left_ - std::min(cost, kMostOwed), -kMostOwed);
}

void FairTurns::Run(uint64_t turn) {
  List<Queue, Queue> now;
  now.TakeAll(&queues_);
  // Another is first each time.
  if (Queue* first = now.PopFront()) now.PushBack(first);
  while (Queue* queue = now.PopFront()) {
    Fill(queue, turn);
    while (queue->left_ > 0) {
      Waiter* const waiter = queue->waiting_.PopFront();
      if (!waiter) break;
      queue->left_ -= waiter->cost_;
      waiter->OnTurn();
    }
    if (!queue->waiting_.empty() && !queue->linked()) queues_.PushBack(queue);
  }
}

}  // namespace orlop
