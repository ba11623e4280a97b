// 22 · data thread · who has a connection that nobody was accepted for: only its far side is there.
#pragma once

#include <string_view>

#include "engine/core/byte_end.h"
#include "engine/core/events.h"

namespace orlop {

// It is also the first user of the far side's bytes.
class UpstreamUser : public ByteEnd::User {
 public:
  // The far side is there.
  virtual void OnUpstream() = 0;
  // Called once, when the connection has gone.
  virtual void OnUpstreamEnded(CloseCause cause, int detail, std::string_view message) = 0;

 protected:
  ~UpstreamUser() = default;
};

}  // namespace orlop
