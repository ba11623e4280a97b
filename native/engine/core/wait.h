// data thread · where a libuv loop would sleep, this sleeps for it, for the descriptors of all engines of the thread.
#pragma once

#include <sys/epoll.h>
#include <uv.h>

#include <vector>

#include "engine/core/pollable.h"
#include "shared/unique_fd.h"

namespace orlop {

class Loop;

// One wait per thread: its first engine makes it, its last engine ends it. libuv calls it before each poll of its own, and it
// sleeps in libuv's place (libuv's documented way of being embedded: uv_backend_fd, uv_backend_timeout). So bytes pass without
// a round through libuv, and libuv runs when it has something to do.
class Wait {
 public:
  // Null with errno set: no descriptor, or libuv refuses.
  static Wait* Join(Loop* loop, uv_loop_t* uv);
  void Leave(Loop* loop);
  bool Add(int fd, uint32_t events, Pollable* pollable) const;
  void Remove(int fd) const { epoll_ctl(set_.get(), EPOLL_CTL_DEL, fd, nullptr); }
  void Again() { again_ = true; }

 private:
  explicit Wait(uv_loop_t* uv) : uv_(uv) {}
  static Wait*& OfThread() {
    thread_local Wait* wait = nullptr;
    return wait;
  }
  int Open();
  void End();
  void UntilUvHasWork();
  uv_loop_t* uv_;
  uv_prepare_t prepare_;
  uv_idle_t idle_;
  int handles_ = 2;
  UniqueFd set_;
  bool again_ = false;
  std::vector<Loop*> loops_;
};

}  // namespace orlop
