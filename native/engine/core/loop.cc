// data thread · an engine's share of the wait.
#include "engine/core/loop.h"

#include <sys/epoll.h>

#include <cerrno>

#include "engine/core/wait.h"

namespace orlop {

int Loop::Open(EndTurn end_turn, void* self) {
  end_turn_ = end_turn;
  self_ = self;
  wait_ = Wait::Join(this, uv_);
  return wait_ ? 0 : errno;
}

bool Loop::Watch(int fd, Pollable* pollable) const {
  return wait_->Add(fd, EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET, pollable);
}

bool Loop::WatchShared(int fd, Pollable* pollable) const {
  return wait_->Add(fd, EPOLLIN | EPOLLEXCLUSIVE, pollable);
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
