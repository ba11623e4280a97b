// data thread · one engine's part in the wait of its thread.
#pragma once

#include <uv.h>

#include <cstdint>

#include "engine/core/pollable.h"

namespace orlop {

class Wait;

class Loop {
 public:
  // Called once per turn, after the ready descriptors: delivers events, writes, deletes what ended.
  using EndTurn = void (*)(void* self);

  explicit Loop(uv_loop_t* uv) : uv_(uv) {}
  // Returns 0 or an errno.
  int Open(EndTurn end_turn, void* self);
  // Edge-triggered, in all directions, until Forget. False: out of memory. Called by Descriptor alone, which pairs the two.
  bool Watch(int fd, Pollable* pollable) const;
  // Level-triggered reading of a descriptor that other threads poll too; the kernel wakes one thread only.
  bool WatchShared(int fd, Pollable* pollable) const;
  void Forget(int fd) const;
  // Asks for another turn although no descriptor may be ready.
  void Again();
  // No descriptor of this engine is watched any more.
  void Stop();

 private:
  friend class Wait;
  uv_loop_t* uv_;
  Wait* wait_ = nullptr;
  EndTurn end_turn_ = nullptr;
  void* self_ = nullptr;
};

}  // namespace orlop
