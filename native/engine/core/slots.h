// data thread · connections by number and generation, so that an answer to one that is gone finds nobody.
#pragma once

#include <cstdint>
#include <vector>

namespace orlop {

class Connection;
class Tunnel;

struct SlotRef {
  uint32_t index = 0;
  uint32_t generation = 0;
};

class Slots {
 public:
  SlotRef Add(Connection* connection) { return Place(connection, nullptr); }
  SlotRef Add(Tunnel* tunnel) { return Place(nullptr, tunnel); }
  void Remove(SlotRef ref) {
    Slot& slot = slots_[ref.index];
    slot.connection = nullptr;
    slot.tunnel = nullptr;
    slot.generation++;
    free_.push_back(ref.index);
  }
  Connection* FindConnection(uint32_t index, uint32_t generation) const {
    return index < slots_.size() && slots_[index].generation == generation ? slots_[index].connection
                                                                           : nullptr;
  }
  Tunnel* FindTunnel(uint32_t index, uint32_t generation) const {
    return index < slots_.size() && slots_[index].generation == generation ? slots_[index].tunnel : nullptr;
  }
  // A copy of what lives now: callers end connections while they walk.
  std::vector<Connection*> Connections() const {
    std::vector<Connection*> out;
    for (const Slot& slot : slots_) {
      if (slot.connection) out.push_back(slot.connection);
    }
    return out;
  }
  std::vector<Tunnel*> Tunnels() const {
    std::vector<Tunnel*> out;
    for (const Slot& slot : slots_) {
      if (slot.tunnel) out.push_back(slot.tunnel);
    }
    return out;
  }

 private:
  struct Slot {
    Connection* connection = nullptr;
    Tunnel* tunnel = nullptr;
    uint32_t generation = 1;
  };
  SlotRef Place(Connection* connection, Tunnel* tunnel) {
    uint32_t index;
    if (free_.empty()) {
      index = static_cast<uint32_t>(slots_.size());
      slots_.emplace_back();
    } else {
      index = free_.back();
      free_.pop_back();
    }
    slots_[index].connection = connection;
    slots_[index].tunnel = tunnel;
    return {index, slots_[index].generation};
  }
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
};

}  // namespace orlop
