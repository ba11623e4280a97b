// data thread · the wait of a thread.
#include "engine/core/wait.h"

#include <algorithm>
#include <cerrno>

#include "engine/core/loop.h"

namespace orlop {

Wait* Wait::Join(Loop* loop, uv_loop_t* uv) {
  Wait*& wait = OfThread();
  if (!wait) {
    auto* made = new Wait(uv);
    errno = made->Open();
    if (errno != 0) {
      made->End();
      return nullptr;
    }
    wait = made;
  }
  wait->loops_.push_back(loop);
  return wait;
}

void Wait::Leave(Loop* loop) {
  loops_.erase(std::remove(loops_.begin(), loops_.end(), loop), loops_.end());
  if (!loops_.empty()) return;
  OfThread() = nullptr;
  End();
}

int Wait::Open() {
  uv_prepare_init(uv_, &prepare_);
  uv_idle_init(uv_, &idle_);
  prepare_.data = idle_.data = this;
  set_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!set_) return errno;
  epoll_event event{};
  event.events = EPOLLIN;
  if (epoll_ctl(set_.get(), EPOLL_CTL_ADD, uv_backend_fd(uv_), &event) != 0) return errno;
  return -uv_prepare_start(&prepare_,
                           [](uv_prepare_t* handle) { static_cast<Wait*>(handle->data)->UntilUvHasWork(); });
}

void Wait::End() {
  set_.reset();
  const auto gone = [](uv_handle_t* handle) {
    auto* self = static_cast<Wait*>(handle->data);
    if (--self->handles_ == 0) delete self;
  };
  uv_close(reinterpret_cast<uv_handle_t*>(&prepare_), gone);
  uv_close(reinterpret_cast<uv_handle_t*>(&idle_), gone);
}

bool Wait::Add(int fd, uint32_t events, Pollable* pollable) const {
  epoll_event event{};
  event.events = events;
  event.data.ptr = pollable;
  return epoll_ctl(set_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Wait::UntilUvHasWork() {
  uv_idle_stop(&idle_);
  for (bool uv_has_work = false; !uv_has_work;) {
    // Milliseconds to libuv's next timer. -1: it has none. 0: it has work that no descriptor announces.
    const int uv_timeout = uv_backend_timeout(uv_);
    epoll_event ready[256];
    const int count = epoll_wait(set_.get(), ready, 256, again_ ? 0 : uv_timeout);
    uv_update_time(uv_);
    uv_has_work = uv_timeout == 0 || (count <= 0 && !again_);
    again_ = false;
    for (int i = 0; i < count; i++) {
      if (auto* pollable = static_cast<Pollable*>(ready[i].data.ptr)) {
        pollable->OnReady(ready[i].events);
      } else {
        uv_has_work = true;
      }
    }
    // Backwards: a turn may end engines of this thread, and all of them.
    for (size_t i = loops_.size(); i-- > 0;) {
      if (i < loops_.size()) loops_[i]->end_turn_(loops_[i]->self_);
    }
    if (!set_) return;
  }
  // libuv polls now and must not sleep: what it was woken for may be gone, and it would not see our descriptors.
  uv_idle_start(&idle_, [](uv_idle_t*) {});
}

}  // namespace orlop
