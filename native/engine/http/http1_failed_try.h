// 22 · data thread · a try of a request that has failed, while TypeScript is asked what then.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/core/events.h"
#include "engine/core/timer.h"
#include "engine/http/http1_kept_head.h"
#include "engine/http/http1_write.h"

namespace orlop {

// What a caller is answered where its origin has said nothing.
struct AnswerInPlace {
  uint16_t status;
  std::string_view body;  // of the program
  RequestOutcome outcome;
  int32_t why;  // as of RequestEnd
  std::string message;
  int detail = 0;  // of kNotReached
};

struct FailedTry {
  FailedTry(TryFailure failure, Timer::Fire fire, void* self) : what(failure), pause(fire, self) {}

  TryFailure what;
  bool sent = false;  // the origin may have got some of the request
  uint64_t duration_us = 0;
  std::string body;  // of the request, as much as has come, in its framing
  // If nothing else is tried: the response that is held, or this answer.
  AnswerInPlace answer = {};
  Http1KeptHead response;
  Http1Edit edit = {};
  bool gone = false;  // the connection with the rest of the response
  Timer pause;

  size_t held() const {
    return response.held() + (body.capacity() > std::string().capacity() ? body.capacity() : 0);
  }
};

}  // namespace orlop
