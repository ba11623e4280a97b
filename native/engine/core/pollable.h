// data thread · something with a descriptor in the epoll set.
#pragma once

#include <cstdint>

namespace orlop {

// Stays in memory until the turn that ended it is over.
class Pollable {
 public:
  // `events`: epoll's bits.
  virtual void OnReady(uint32_t events) = 0;

 protected:
  ~Pollable() = default;
};

}  // namespace orlop
