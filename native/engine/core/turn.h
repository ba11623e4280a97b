// data thread · the turn: ready descriptors, work put off, one batch of events, one flush, and then what ended is deleted.
#pragma once

#include <cstdint>

#include "engine/core/list.h"

namespace orlop {

class Loop;

class Turn {
 public:
  // Has more to do than one turn's share.
  class Task : public Hook<Task> {
   public:
    virtual void OnAgain() = 0;

   protected:
    ~Task() = default;
  };
  // Has bytes to write, once for all that this turn caused.
  class Flushable : public Hook<Flushable> {
   public:
    virtual void Flush() = 0;

   protected:
    ~Flushable() = default;
  };
  // Ends itself. Events of the same turn may still name it, so it stays in memory until the turn is over.
  class Mortal : public Hook<Mortal> {
   public:
    virtual ~Mortal() = default;
  };

  explicit Turn(Loop& loop) : loop_(loop) {}
  // For the next turn. Each of the three may be called again for the same object before it is its turn.
  void Again(Task* task) {
    if (!task->Hook<Task>::linked()) again_.PushBack(task);
  }
  void Dirty(Flushable* flushable) {
    if (!flushable->Hook<Flushable>::linked()) dirty_.PushBack(flushable);
  }
  // Takes ownership.
  void Bury(Mortal* mortal);
  // Asks for a turn: a call from TypeScript has put something off, maybe outside of any turn.
  void Wake();

  // From the engine.
  void Begin() { running_ = true; }
  void End() {
    running_ = false;
    number_++;
  }
  // Of the turn that runs, or to which what epoll says now belongs.
  uint64_t number() const { return number_; }
  bool running() const { return running_; }
  void RunAgain();
  void FlushDirty();
  void Reap();
  bool HasWork() const { return !dirty_.empty() || !again_.empty(); }

 private:
  Loop& loop_;
  bool running_ = false;
  uint64_t number_ = 0;
  List<Task, Task> again_;
  List<Flushable, Flushable> dirty_;
  List<Mortal, Mortal> dead_;
};

}  // namespace orlop
