// 22 · data thread · a request of HTTP/2 that wants a stream to its origin.
#pragma once

#include <string_view>

#include "engine/core/events.h"
#include "engine/core/hook.h"

namespace orlop {

class H2Session;

// While it is in a list it waits; Hook::Remove takes it back.
class StreamWaiter : public Hook<StreamWaiter> {
 public:
  // There is room for its stream in this session, and it asks in this call.
  virtual void OnOriginSession(H2Session& session) = 0;
  // There is none, and nothing was sent.
  virtual void OnNoOriginSession(CloseCause cause, int detail, std::string_view message) = 0;

 protected:
  ~StreamWaiter() = default;
};

}  // namespace orlop
