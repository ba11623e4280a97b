// 22 · data thread · where the session of a request gets its connection to an origin.
#pragma once

#include <cstdint>

#include "engine/http/mirror_room.h"
#include "engine/http/origin_link.h"
#include "engine/http/stream_waiter.h"

namespace orlop {

// Which links a request may have: the far end of an idle link may be about to end it.
enum class LinkUse : uint8_t {
  kUnused,   // none that has carried a request before
  kTrusted,  // also what has not been idle for so long that its origin ends it, as far as is known
  kAny,
};

class OriginSource {
 public:
  // A link to the origin of this number, to be opened. Null: nothing of this number is defined for this pod.
  virtual OriginLink* Take(uint32_t number, uint32_t pod_idx, LinkUse use, OriginLink::User& user) = 0;
  // A stream to it, maybe in this call: many requests of a pod share a connection. Where nothing of this number is defined for this pod
  // the waiter hears it.
  virtual void AwaitStream(uint32_t number, uint32_t pod_idx, StreamWaiter& waiter) = 0;
  // Of copies of requests.
  virtual MirrorRoom& mirrors() = 0;

 protected:
  ~OriginSource() = default;
};

}  // namespace orlop
