// data thread · whether a pod may have anything new while memory or descriptors are short: who has more than a part of them keeps nobody else out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "engine/core/buffers.h"
#include "engine/core/clock.h"
#include "engine/core/slots.h"

namespace orlop {

// What each pod has of the thread is counted when something is short, and at most every kKeptMs: a connection pays nothing for it.
class PodRoom {
 public:
  // A pod's part is a kParts-th of the thread's connections and tunnels.
  static constexpr size_t kParts = 4;
  static constexpr uint64_t kKeptMs = 50;

  PodRoom(const Slots& slots, const Buffers& buffers, const Clock& clock)
      : slots_(slots), buffers_(buffers), clock_(clock) {}

  // True while memory is short and the pod has more than its part of it; and for every pod if none has more than its part.
  bool LacksMemory(uint32_t pod_idx);
  // True while descriptors are short; and while they are scarce, if the pod has more than its part of what is open.
  bool LacksDescriptors(uint32_t pod_idx);
  // The connection that holds most memory among those of pods that have more than their part; null: no pod has.
  SlotOwner* LargestOfGreedy();

 private:
  struct Use {
    size_t bytes = 0;
    size_t open = 0;
  };
  void Count();
  bool IsGreedy(const Use& use) const { return use.bytes > buffers_.pods_part(); }

  const Slots& slots_;
  const Buffers& buffers_;
  const Clock& clock_;
  std::unordered_map<uint32_t, Use> uses_;
  size_t open_ = 0;
  bool any_greedy_ = false;
  bool counted_ = false;
  uint64_t counted_ms_ = 0;
};

}  // namespace orlop
