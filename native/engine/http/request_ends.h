// 16 · any thread · how a request ends that its connection, or its origin, has left: the same for HTTP/1 and HTTP/2. Pure.
#pragma once

#include <string_view>

#include "engine/core/events.h"
#include "engine/http/http1_failed_try.h"

namespace orlop {

// Its connection has ended for this.
RequestOutcome OutcomeOf(CloseCause cause);
// Its origin has gone before it answered.
AnswerInPlace AnswerForLost();
// Its origin could not be reached, and has got nothing. `detail` as of the cause.
AnswerInPlace AnswerForNotReached(CloseCause cause, int detail, std::string_view message);

}  // namespace orlop
