// 22 · data thread · a try of a request at its origin fails before its caller has got a byte: TypeScript says whether there is another.
#include <utility>

#include "engine/core/answer.h"
#include "engine/core/arena.h"
#include "engine/http/http1_session.h"
#include "engine/http/request_ends.h"

namespace orlop {
namespace {

// TypeScript itself waits less.
constexpr uint64_t kAnswerMs = 6'000;
constexpr uint64_t kCoarseMs = 400;

}  // namespace

bool Http1Session::KeepFailed(TryFailure what, bool sent, AnswerInPlace answer) {
  if (!running_ || !open_ || status_ != 0 || upgraded_) return false;
  if (!route_->asks_any && (sent || !route_->asks_unsent)) return false;
  std::string body;
  if (!sent) {
    // What was never sent waits as it was written, behind the head.
    body = up_.TakeWaiting();
    body.erase(0, route_->head_bytes);
  } else if (!up_.TakeKept(&body)) {
    return false;
  }
  route_->failed = std::make_unique<FailedTry>(
      what, [](void* self) { static_cast<Http1Session*>(self)->AskAboutTry(); }, this);
  FailedTry& failed = *route_->failed;
  failed.sent = sent;
  failed.body = std::move(body);
  failed.answer = std::move(answer);
  failed.duration_us = services_.clock.now_us() - route_->try_began_us;
  return true;
}

bool Http1Session::HoldsResponse(const uint8_t* bytes, const Http1Step& step, const Http1Head& head) {
  if (!route_ || head.status < 400 || step.opaque || !route_->asks_any) return false;
  if (!KeepFailed(TryFailure::kStatus, true, AnswerForLost())) return false;
  route_->failed->response.Keep(bytes, step.used, head);
  route_->failed->edit = step.edit;
  answers_ = false;
  AskAboutTry();
  return true;
}

void Http1Session::AskAboutTry() {
  const FailedTry& failed = *route_->failed;
  StartRequestDeadline();
  Deadline(kAnswerMs);
  Http1Head head;
  int status = failed.answer.detail;
  if (failed.what == TryFailure::kStatus) {
    failed.response.Read(&head);
    status = head.status;
  }
  head_.Read(&head);
  EmitTryFailed(services_.events, of_, number_, head_.bytes(), head,
                {failed.what, status, failed.what == TryFailure::kNotReached ? failed.answer.why : 0,
                 failed.sent, failed.duration_us});
}

void Http1Session::OnAnswerToTry(const Answer& answer) {
  if (!running_) return;
  switch (answer.type()) {
    case ORLOP_ANSWER_FORWARD:
      TryAgain(answer);
      break;
    case ORLOP_ANSWER_HOLD: {
      deadline_.Cancel();
      const uint64_t ms = answer.hold_ms();
      (ms < kCoarseMs ? services_.pauses : services_.timers).Start(&route_->failed->pause, ms);
      return;
    }
    case ORLOP_ANSWER_REPLY:
      route_->failed.reset();
      DropLink(false);
      ReplyForOrigin(answer);
      break;
    default:
      PassTry();
  }
  Pump();
}

void Http1Session::TryAgain(const Answer& answer) {
  const std::unique_ptr<FailedTry> failed = std::move(route_->failed);
  if (failed->what == TryFailure::kStatus) DropLink(false);
  Http1Head head;
  head_.Read(&head);
  if (!WriteRequest(answer, head, exchange_.ForwardAgain(head))) return;
  AwaitMovement();
  ForwardToOrigin(answer, head, failed->body);
}

void Http1Session::PassTry() {
  const std::unique_ptr<FailedTry> failed = std::move(route_->failed);
  if (failed->what == TryFailure::kStatus && !failed->gone) {
    Http1Head head;
    failed->response.Read(&head);
    return WriteResponse(failed->response.bytes(), failed->response.length(), failed->edit, false, head);
  }
  const AnswerInPlace& answer = failed->answer;
  DropLink(false);
  AnswerForOrigin(answer.status, answer.body, answer.outcome, answer.why, answer.message);
}

}  // namespace orlop
