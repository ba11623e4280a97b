// 16 · data thread · a connection that is read turns out to be something else: what was read already goes on, and others take it over.
#include <utility>

#include "engine/http/http1_session.h"

namespace orlop {

void Http1Session::Pass() {
  // What was read already may find nobody who takes it.
  AwaitMovement();
  phase_ = Phase::kOpaque;
  services_.shares.End(this);
  EmitOpaque(services_.events, of_);
}

// The line of a last chunk is used before its trailers, which are refused.
void Http1Session::PassFrom(Http1Side& from) {
  const bool is_request = &from == &down_;
  if (exchange_.awaits_trailers(is_request)) (is_request ? up_ : down_).WriteLastChunkLine();
  Pass();
}

void Http1Session::PassHeld() {
  up_.WriteRaw(down_.held);
  down_.WriteRaw(up_.held);
  down_.ForgetHeld();
  up_.ForgetHeld();
}

void Http1Session::PassIfFlushed() {
  if (phase_ != Phase::kOpaque || up_.waiting() > 0 || down_.waiting() > 0) return;
  running_ = false;
  deadline_.Cancel();
  ask_caller_.Cancel();
  Turn::Task::Remove();
  user_.OnOpaque();
}

void Http1Session::OnHttp2Application() {
  AnswerLast(502, NameOf(Http1Refusal::kStartLine));
  status_ = 502;
  EndRequest(RequestOutcome::kBadResponse, Http1Refusal::kStartLine);
}

void Http1Session::HandOver() {
  running_ = false;
  deadline_.Cancel();
  ask_caller_.Cancel();
  Turn::Task::Remove();
  services_.shares.End(this);
  std::string from_caller = std::move(down_.held), from_application = std::move(up_.held);
  down_.ForgetHeld();
  up_.ForgetHeld();
  CountHeld();
  user_.OnHttp2(std::move(from_caller), std::move(from_application));
}

}  // namespace orlop
