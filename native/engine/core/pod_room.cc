// data thread · what each pod has of a thread's memory and connections, while either is short.
#include "engine/core/pod_room.h"

#include "engine/core/descriptor.h"

namespace orlop {

void PodRoom::Count() {
  const uint64_t now = clock_.now_ms();
  if (counted_ && now - counted_ms_ < kKeptMs) return;
  counted_ = true;
  counted_ms_ = now;
  uses_.clear();
  open_ = 0;
  for (const Slots::Kind kind : {Slots::Kind::kConnection, Slots::Kind::kTunnel}) {
    for (const SlotOwner* owner : slots_.All(kind)) {
      Use& use = uses_[owner->pod_idx()];
      use.bytes += owner->buffered();
      use.open++;
      open_++;
    }
  }
  any_greedy_ = false;
  for (const auto& [pod_idx, use] : uses_) any_greedy_ = any_greedy_ || IsGreedy(use);
}

bool PodRoom::LacksMemory(uint32_t pod_idx) {
  if (!buffers_.Overloaded()) return false;
  Count();
  return !any_greedy_ || IsGreedy(uses_[pod_idx]);
}

bool PodRoom::LacksDescriptors(uint32_t pod_idx) {
  switch (DescriptorsLeft()) {
    case Descriptors::kPlenty:
      return false;
    case Descriptors::kShort:
      return true;
    case Descriptors::kScarce:
      break;
  }
  Count();
  return uses_[pod_idx].open * kParts > open_;
}

SlotOwner* PodRoom::LargestOfGreedy() {
  counted_ = false;
  Count();
  SlotOwner* largest = nullptr;
  if (!any_greedy_) return largest;
  for (SlotOwner* connection : slots_.All(Slots::Kind::kConnection)) {
    if (!IsGreedy(uses_[connection->pod_idx()])) continue;
    if (connection->buffered() > (largest ? largest->buffered() : 0)) largest = connection;
  }
  return largest;
}

}  // namespace orlop
