// 6 · data thread · events of this wake-up, written straight into the arena; what does not fit waits for the next batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "engine/core/arena.h"
#include "engine/core/endpoint.h"

namespace orlop {

struct Texts {
  std::string_view text[4];
};

class EventQueue {
 public:
  explicit EventQueue(uint8_t* arena) : arena_(arena) {}
  // Where the texts of the next event will lie, so that they can be written there and need no copy: `bytes` of room, which hold until
  // Emit. Null: that event would have to wait.
  char* Room(size_t bytes) const;
  void Emit(const orlop_engine_event& event, const Texts& texts = {});
  // How many events the arena holds. It is the handler's until Delivered, so later events wait outside of it.
  uint32_t Deliver();
  // The handler has read them. Events that waited move into the arena.
  void Delivered();
  bool empty() const { return count_ == 0 && waiting_.empty(); }
  uint64_t total() const { return total_; }

 private:
  struct Waiting {
    orlop_engine_event event;
    std::string text[4];
  };
  bool Fits(size_t text_bytes) const {
    return count_ < ORLOP_ARENA_EVENT_CAPACITY && text_length_ + text_bytes <= ORLOP_ARENA_EVENT_TEXT_SIZE;
  }
  bool Write(const orlop_engine_event& event, const Texts& texts);
  uint8_t* arena_;
  uint32_t count_ = 0;
  uint32_t text_length_ = 0;
  bool frozen_ = false;
  uint64_t total_ = 0;
  std::deque<Waiting> waiting_;
};

inline orlop_endpoint ToRecord(const Endpoint& endpoint) {
  return {endpoint.addr, endpoint.port, 1};
}

}  // namespace orlop
