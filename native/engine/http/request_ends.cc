// 16 · any thread · words and numbers of a request's end.
#include "engine/http/request_ends.h"

#include <cstring>
#include <string>

#include "engine/http/http1_refusal.h"

namespace orlop {

RequestOutcome OutcomeOf(CloseCause cause) {
  switch (cause) {
    case CloseCause::kResetByDownstream:
    case CloseCause::kTunnelLost:
      return RequestOutcome::kResetByDownstream;
    case CloseCause::kResetByUpstream:
      return RequestOutcome::kResetByUpstream;
    case CloseCause::kHttpTimeout:
      return RequestOutcome::kTimeout;
    default:
      return RequestOutcome::kCut;
  }
}

AnswerInPlace AnswerForLost() {
  return {502,
          NameOf(Http1Refusal::kHeadEnd),
          RequestOutcome::kResetByUpstream,
          static_cast<int32_t>(Http1Refusal::kHeadEnd),
          {}};
}

AnswerInPlace AnswerForNotReached(CloseCause cause, int detail, std::string_view message) {
  const std::string words = !message.empty() || detail == 0       ? std::string(message)
                            : cause == CloseCause::kTunnelRefused ? std::to_string(detail)
                                                                  : strerror(detail);
  return {503, "not reached", RequestOutcome::kNotReached, static_cast<int32_t>(cause), words, detail};
}

}  // namespace orlop
