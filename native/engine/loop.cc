// data thread · the turn. At most 1,024 descriptors are served before the rest of the thread gets its chance.
#include "engine/loop.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>

namespace orlop {

int Loop::Open(EndTurn end_turn, void* self) {
  end_turn_ = end_turn;
  self_ = self;
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) return errno;
  if (const int error = uv_poll_init(uv_, &poll_, epoll_)) return -error;
  uv_idle_init(uv_, &idle_);
  poll_.data = idle_.data = this;
  return -uv_poll_start(&poll_, UV_READABLE,
                        [](uv_poll_t* handle, int, int) { static_cast<Loop*>(handle->data)->Turn(); });
}

bool Loop::Watch(int fd, Pollable* who) const {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = who;
  return epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool Loop::WatchShared(int fd, Pollable* who) const {
  epoll_event event{};
  // Behind a nested set the kernel cannot tell that one thread was enough, so a second may wake for nothing;
  // its accept then finds nobody.
  event.events = EPOLLIN | EPOLLEXCLUSIVE;
  event.data.ptr = who;
  return epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0;
}

void Loop::Forget(int fd) const {
  epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
}

void Loop::Again() {
  if (again_ || epoll_ < 0) return;
  again_ = true;
  uv_idle_start(&idle_, [](uv_idle_t* handle) { static_cast<Loop*>(handle->data)->Turn(); });
}

void Loop::Turn() {
  if (again_) {
    again_ = false;
    uv_idle_stop(&idle_);
  }
  epoll_event ready[256];
  for (int round = 0; round < 4; round++) {
    const int count = epoll_wait(epoll_, ready, 256, 0);
    for (int i = 0; i < count; i++) static_cast<Pollable*>(ready[i].data.ptr)->OnReady(ready[i].events);
    if (count < 256) break;
  }
  end_turn_(self_);
}

void Loop::Stop() {
  if (epoll_ < 0) return;
  uv_poll_stop(&poll_);
  uv_idle_stop(&idle_);
  close(epoll_);
  epoll_ = -1;
}

}  // namespace orlop
