// data thread · the wait. A thread's engines wait for their own descriptors and for libuv's in one set, so
// that bytes pass without a round through libuv; libuv runs when it has something to do.
#pragma once

#include <uv.h>

#include <cstdint>

namespace orlop {

// Something with a descriptor in the set. Stays in memory until the turn that ended it is over.
class Pollable {
 public:
  virtual void OnReady(uint32_t events) = 0;

 protected:
  ~Pollable() = default;
};

class Wait;

// One engine's part in the wait of its thread.
class Loop {
 public:
  // Called once per turn, after the ready descriptors: deliver events, flush writes, free what ended.
  using EndTurn = void (*)(void* self);

  explicit Loop(uv_loop_t* uv) : uv_(uv) {}
  // Returns 0 or an errno.
  int Open(EndTurn end_turn, void* self);
  // Edge-triggered, all directions, for the descriptor's whole life: no epoll_ctl afterwards. False: out of
  // memory.
  bool Watch(int fd, Pollable* who) const;
  // Level-triggered reading of a descriptor that other threads poll too; only one of them is woken.
  bool WatchShared(int fd, Pollable* who) const;
  void Forget(int fd) const;
  // Asks for another turn although no descriptor may be ready.
  void Again();
  // Nothing is watched any more; descriptors were closed or forgotten before.
  void Stop();

 private:
  friend class Wait;
  uv_loop_t* uv_;
  Wait* wait_ = nullptr;
  EndTurn end_turn_ = nullptr;
  void* self_ = nullptr;
};

}  // namespace orlop
