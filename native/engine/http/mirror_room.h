// 22 · data thread · what may be kept for copies of requests, and where copies are sent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/core/events.h"

namespace orlop {

struct MirroredRequest;
struct MirrorTarget;

class MirrorRoom {
 public:
  // So many bytes more for a copy of a request of this pod. False: that would be too much, and nothing is held.
  virtual bool Hold(uint32_t pod_idx, size_t bytes) = 0;
  virtual void Release(uint32_t pod_idx, size_t bytes) = 0;
  // The copy is sent, but not in this call.
  virtual void Send(std::shared_ptr<const MirroredRequest> request, MirrorTarget target) = 0;
  // How a copy has ended, or that it was not sent.
  virtual void Report(uint32_t pod_idx, MirrorEnd why) = 0;

 protected:
  ~MirrorRoom() = default;
};

}  // namespace orlop
