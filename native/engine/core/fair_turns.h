// data thread · whose work begins in this turn: each queue has a share of it, so that a queue with much work delays no other for long.
#pragma once

#include <cstdint>

#include "engine/core/list.h"

namespace orlop {

// Deficit round robin (Shreedhar and Varghese, "Efficient Fair Queuing Using Deficit Round Robin", 1996) over queues, of which each
// turn of the thread is one round. What a piece of work costs beyond its queue's share is taken from the queue's next shares, those of
// turns in which it asks for nothing included. An idle queue saves nothing.
class FairTurns {
 public:
  class Waiter : public Hook<Waiter> {
   public:
    // The work may begin now. It may end any waiter, and free no queue.
    virtual void OnTurn() = 0;

   protected:
    ~Waiter() = default;

   private:
    friend class FairTurns;
    int32_t cost_ = 1;
  };
  class Queue : public Hook<Queue> {
   public:
    bool empty() const { return waiting_.empty(); }

   private:
    friend class FairTurns;
    List<Waiter, Waiter> waiting_;  // the oldest first
    uint64_t turn_ = ~0ULL;         // in which it last got a share
    int32_t left_ = 0;              // of the share; negative: owed
  };

  // What each queue may begin in a turn from here on, in units of its callers.
  void SetShare(int32_t share) { share_ = share; }
  // True: the work may begin at once. False: OnTurn is called in this turn or a later turn, unless `waiter` is removed before; of a
  // waiter that waits already, once. `cost` is 1 to the share. `turn` is the number of the turn that runs, and never goes back.
  bool Ask(Queue* queue, Waiter* waiter, int32_t cost, uint64_t turn);
  // What a queue owes at most: a machine that was stopped for a while stops no queue for long.
  static constexpr int32_t kMostOwed = 1 << 20;
  // Work of this cost was done, which nobody has asked for.
  void Spend(Queue* queue, int32_t cost, uint64_t turn) const;
  // It could begin nothing in this turn.
  bool Owes(Queue* queue, uint64_t turn) const {
    Fill(queue, turn);
    return queue->left_ <= 0;
  }
  // Once in each turn: lets the oldest of each queue begin.
  void Run(uint64_t turn);
  // Nothing waits.
  bool empty() const { return queues_.empty(); }

 private:
  void Fill(Queue* queue, uint64_t turn) const;
  List<Queue, Queue> queues_;  // in which something waits
  int32_t share_ = 1;
};

}  // namespace orlop
