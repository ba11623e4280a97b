// data thread · an epoll set nested in the thread's uv loop. One turn: drain within a budget, then let the
// engine finish.
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
  // Level-triggered reading of a descriptor that other threads poll too.
  bool WatchShared(int fd, Pollable* who) const;
  void Forget(int fd) const;
  // Asks for another turn although no descriptor may be ready.
  void Again();
  uv_loop_t* uv() const { return uv_; }
  uv_poll_t* poll_handle() { return &poll_; }
  uv_idle_t* idle_handle() { return &idle_; }
  // Stops the handles (uv_close is the owner's) and closes the set.
  void Stop();

 private:
  void Turn();
  uv_loop_t* uv_;
  uv_poll_t poll_;
  uv_idle_t idle_;
  int epoll_ = -1;
  bool again_ = false;
  EndTurn end_turn_ = nullptr;
  void* self_ = nullptr;
};

}  // namespace orlop
