// data thread · what TypeScript may name, by number and generation, so that an answer to what is gone finds nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/core/slot_owner.h"

namespace orlop {

struct SlotRef {
  uint32_t index = 0;
  uint32_t generation = 0;
};

class Slots {
 public:
  enum class Kind : uint8_t { kConnection, kTunnel };

  SlotRef Add(SlotOwner* owner, Kind kind) {
    uint32_t index;
    if (free_.empty()) {
      index = static_cast<uint32_t>(slots_.size());
      slots_.emplace_back();
    } else {
      index = free_.back();
      free_.pop_back();
    }
    slots_[index].owner = owner;
    slots_[index].kind = kind;
    return {index, slots_[index].generation};
  }
  void Remove(SlotRef ref) {
    Slot& slot = slots_[ref.index];
    slot.owner = nullptr;
    slot.generation++;
    free_.push_back(ref.index);
  }
  // Null: it is gone.
  SlotOwner* Find(SlotRef ref) const {
    return ref.index < slots_.size() && slots_[ref.index].generation == ref.generation
               ? slots_[ref.index].owner
               : nullptr;
  }
  // A copy, since callers end what they walk over.
  std::vector<SlotOwner*> All(Kind kind) const {
    std::vector<SlotOwner*> out;
    for (const Slot& slot : slots_) {
      if (slot.owner && slot.kind == kind) out.push_back(slot.owner);
    }
    return out;
  }

 private:
  struct Slot {
    SlotOwner* owner = nullptr;
    uint32_t generation = 1;
    Kind kind = Kind::kConnection;
  };
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
};

}  // namespace orlop
