// 22 · data thread · a request of HTTP/2 that wants a stream to its origin.
#pragma once

#include <string_view>

#include "engine/core/events.h"
#include "engine/core/hook.h"
#include "engine/core/shared_count.h"

namespace orlop {

class H2Session;

// While it is in a list it waits.
class StreamWaiter : public Hook<StreamWaiter> {
 public:
  // Among the requests that wait, where those are counted.
  void Takes(int32_t* room) { room_.Holds(room); }
  void StopWaiting() {
    Hook<StreamWaiter>::Remove();
    room_.Leave();
  }

  // There is room for its stream in this session, and it asks in this call.
  virtual void OnOriginSession(H2Session& session) = 0;
  // There is none, and nothing was sent.
  virtual void OnNoOriginSession(CloseCause cause, int detail, std::string_view message) = 0;

 protected:
  ~StreamWaiter() = default;

 private:
  SharedCount room_;
};

}  // namespace orlop
