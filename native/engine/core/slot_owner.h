// data thread · an object that TypeScript may name.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/core/events.h"

namespace orlop {

class Answer;

// An object with a slot: TypeScript answers its events, and the engine ends it together with its pod or itself.
class SlotOwner {
 public:
  // Kinds of answers that mean nothing to it are ignored.
  virtual void OnAnswer(const Answer& answer) = 0;
  // Ends it now. It has left its slot when this returns.
  virtual void EndNow(CloseCause cause) = 0;
  // Takes nothing new, and ends when what it carries has ended.
  virtual void Retire() {}
  // The pod takes nothing new from peers.
  virtual void StopServing() {}
  // The roots have changed: ends if its peer would not be verified now.
  virtual void CheckPeer() {}
  virtual uint32_t pod_idx() const = 0;
  // Bytes that wait in memory for it.
  virtual size_t buffered() const { return 0; }
  virtual uint32_t streams() const { return 0; }
  // Payload so far. False: it carries none itself.
  virtual bool Counters(uint64_t* sent, uint64_t* received) const {
    *sent = *received = 0;
    return false;
  }

  // The socket that carries a side of it; -1: there is none now.
  virtual int SocketOf(bool /* upstream */) const { return -1; }

 protected:
  ~SlotOwner() = default;
};

}  // namespace orlop
