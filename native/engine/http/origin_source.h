// 22 · data thread · where the session of a request gets its connection to an origin.
#pragma once

#include <cstdint>

#include "engine/http/origin_link.h"

namespace orlop {

class OriginSource {
 public:
  // A link to the origin of this number, to be opened. `may_be_used`: it may have carried a request before. Null: nothing of this number is
  // defined for this pod.
  virtual OriginLink* Take(uint32_t number, uint32_t pod_idx, bool may_be_used, OriginLink::User& user) = 0;

 protected:
  ~OriginSource() = default;
};

}  // namespace orlop
