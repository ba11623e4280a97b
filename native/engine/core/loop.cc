// data thread · the wait: where a libuv loop would sleep, this sleeps for it (libuv's documented way of being
// embedded: uv_backend_fd, uv_backend_timeout).
#include "engine/core/loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "shared/unique_fd.h"

namespace orlop {

// One per thread, made by its first engine, gone with its last. libuv calls it before each poll of its own.
class Wait {
 public:
  // Null with errno set: no descriptor, or libuv refuses.
  static Wait* Join(Loop* loop, uv_loop_t* uv);
  void Leave(Loop* loop);
  bool Add(int fd, uint32_t events, Pollable* who) const;
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

bool Wait::Add(int fd, uint32_t events, Pollable* who) const {
  epoll_event event{};
  event.events = events;
  event.data.ptr = who;
  return epoll_ctl(set_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Wait::UntilUvHasWork() {
  uv_idle_stop(&idle_);
  for (bool uv_has_work = false; !uv_has_work;) {
    // Milliseconds to libuv's next timer, -1: it has none; 0: it has work that no descriptor tells of.
    const int uv_timeout = uv_backend_timeout(uv_);
    epoll_event ready[256];
    const int count = epoll_wait(set_.get(), ready, 256, again_ ? 0 : uv_timeout);
    uv_update_time(uv_);
    uv_has_work = uv_timeout == 0 || (count <= 0 && !again_);
    again_ = false;
    for (int i = 0; i < count; i++) {
      if (auto* who = static_cast<Pollable*>(ready[i].data.ptr)) {
        who->OnReady(ready[i].events);
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
  // libuv looks and does not sleep: what it was woken for may have gone, and it would not see our
  // descriptors.
  uv_idle_start(&idle_, [](uv_idle_t*) {});
}

int Loop::Open(EndTurn end_turn, void* self) {
  end_turn_ = end_turn;
  self_ = self;
  wait_ = Wait::Join(this, uv_);
  return wait_ ? 0 : errno;
}

bool Loop::Watch(int fd, Pollable* who) const {
  return wait_->Add(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, who);
}

bool Loop::WatchShared(int fd, Pollable* who) const {
  return wait_->Add(fd, EPOLLIN | EPOLLEXCLUSIVE, who);
}

void Loop::Forget(int fd) const {
  if (wait_) wait_->Remove(fd);
}

void Loop::Again() {
  if (wait_) wait_->Again();
}

void Loop::Stop() {
  if (!wait_) return;
  wait_->Leave(this);
  wait_ = nullptr;
}

}  // namespace orlop
