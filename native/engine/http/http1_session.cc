// 16 · data thread · a connection that is read, from its start to its end: its ends, its deadlines, what it holds.
#include "engine/http/http1_session.h"

#include <cerrno>

#include "engine/http/request_ends.h"

namespace orlop {
namespace {

// A body in which nothing moves, although one side could.
constexpr uint64_t kStalledMs = 300'000;
// An application has gone, and the caller takes nothing of what it said.
constexpr uint64_t kAfterErrorMs = 5'000;
constexpr uint64_t kLingerMs = 2'000;

// What the text has of the heap: also what is reserved, since that is what an idle connection would keep.
size_t HeapOf(const std::string& text) {
  return text.capacity() > std::string().capacity() ? text.capacity() : 0;
}

}  // namespace

Http1Session::Http1Session(const EngineServices& services, User& user, HttpReading reading)
    : services_(services),
      user_(user),
      down_(services.buffers.chunks),
      up_(services.buffers.chunks),
      reading_(reading),
      deadline_(
          services, [](void* self) { static_cast<Http1Session*>(self)->OnDeadline(); }, this),
      ask_caller_([](void* self) { static_cast<Http1Session*>(self)->AskCaller(); }, this) {}

void Http1Session::Start(ByteEnd& down, ByteEnd& up, SlotRef ref, uint32_t pod_idx) {
  down_.end = &down;
  up_.end = &up;
  of_ = {ref, pod_idx};
  running_ = true;
  services_.shares.Begin(this, pod_idx);
}

void Http1Session::Stop(CloseCause cause) {
  running_ = false;
  deadline_.Cancel();
  ask_caller_.Cancel();
  Turn::Task::Remove();
  EndRequest(OutcomeOf(cause));
  upgraded_ = false;
  if (route_) {
    DropLink(cause == CloseCause::kFinished);
    std::string().swap(route_->response_edits);
  }
  down_.Clear();
  up_.Clear();
  ForgetHead();
  CountHeld();
  services_.shares.End(this);
}

void Http1Session::End(CloseCause cause, int detail) {
  if (!running_) return;
  running_ = false;
  user_.OnSessionEnded(cause, detail);
}

void Http1Session::CountHeld() {
  size_t now = HeapOf(down_.held) + HeapOf(up_.held) + head_.held();
  if (route_) now += HeapOf(route_->replay) + HeapOf(route_->response_edits) + up_.kept();
  if (asks_about_try()) now += route_->failed->held();
  services_.buffers.heads += now - counted_;
  counted_ = now;
  services_.shares.Holds(this, now, up_.waiting() + down_.waiting());
}

// What the ends say.

void Http1Session::OnReady(ByteEnd& end) {
  if (!running_) return;
  if (IsAbandoned(end)) return EndAbandoned();
  // A socket keeps its bytes until it is the pod's turn. A socket that fails costs little, and costs nothing afterwards.
  if (!end.failing() && !services_.shares.MayRead(this)) return;
  Pump();
  if (!running_ || !end.failing()) return;
  if (route_ && &end != down_.end && &end != up_.end) return;
  if (&end == down_.end) return End(CloseCause::kResetByDownstream, ECONNRESET);
  OnUpFailed();
}

// Its tunnel has read the bytes already: to keep them would cost more than to use them.
void Http1Session::OnArrived(ByteEnd& end) {
  if (!running_) return;
  if (IsAbandoned(end)) return EndAbandoned();
  Pump();
}

bool Http1Session::IsAbandoned(const ByteEnd& end) const {
  return &end == down_.end && end.pulls() && end.shut() && (!down_.finished() || down_.waiting() > 0);
}

// What it has said before may still be read. Behind the last answer the application does not count.
void Http1Session::OnUpFailed() {
  up_.DropWaiting();
  if (failing_ || phase_ == Phase::kClosing) return;
  failing_ = true;
  AwaitTaker();
}

void Http1Session::LoseApplication(int detail) {
  if (phase_ == Phase::kOpaque || number_ == 0) return CutAnswer(detail);
  // A request that waits for its verdict, or got no byte of an answer, must not take the answers before it along.
  if (!open_ || (status_ == 0 && !answers_ && number_ > 1)) return Finish();
  if (!exchange_.answered()) return CutAnswer(detail);
  ReportEnd(RequestOutcome::kAnswered, answered_us(), {});
  exchange_.Close();
  Close();
}

void Http1Session::CutAnswer(int detail) {
  if (down_.waiting() == 0) return End(cause_of_up(), detail);
  cut_ = true;
  AwaitTaker();
}

void Http1Session::OnReset(ByteEnd& end, int code) {
  if (!running_) return;
  if (&end == down_.end) return End(CloseCause::kResetByDownstream, code);
  route_ ? LoseOrigin() : LoseApplication(code);
  Pump();
}

void Http1Session::OnShed(CloseCause cause) {
  if (cause == CloseCause::kHttpSilent && reading_ == HttpReading::kOrPass && phase_ <= Phase::kHead) {
    Pass();
    return Pump();
  }
  // Not End: a websocket, which the relay has by now, goes, too.
  running_ = false;
  user_.OnSessionEnded(cause, 0);
}

// Ends.

void Http1Session::ReportEnd(RequestOutcome outcome, int32_t why, std::string_view message) {
  open_ = false;
  if (route_) {
    route_->over = true;
    route_->tried = false;
    route_->failed.reset();
    route_->copies.reset();
  }
  const uint64_t duration_us = services_.clock.now_us() - began_us_;
  EmitRequestEnded(services_.events, of_, number_,
                   {outcome, why, status_, up_.payload(), down_.payload(), duration_us, message});
  // A websocket lives on what its request was allowed, which may be asked again.
  if (upgraded_) return;
  ForgetHead();
  services_.shares.Close(this);
}

void Http1Session::Finish() {
  // A response that was begun is a whole response in the end.
  if (down_.ahead() > 0)
    WriteAnswer(502, Http1Option::kClose, exchange_.answers_head(), NameOf(Http1Refusal::kHeadEnd));
  EndRequest(OutcomeOf(cause_of_up()));
  finishes_ = true;
  Close();
}

void Http1Session::Close() {
  phase_ = Phase::kClosing;
  up_.DropWaiting();
  if (!route_) up_.Finish();
  down_.Finish();
  AwaitMovement();
}

void Http1Session::FinishIfDone() {
  if (phase_ != Phase::kClosing || down_.waiting() > 0) return;
  if (finishes_ && down_.end->shut() && up_.end->shut()) return End(CloseCause::kFinished);
  if (lingers_) return;
  // Ending at once would reset the last answer away while the caller still sends.
  lingers_ = true;
  // What a socket has taken is delivered by the kernel, also behind our end of it; a stream that is ended takes along what the peer's
  // agent still holds for a slow caller.
  Deadline(down_.end->pulls() ? kStalledMs : kLingerMs);
}

// Time.

void Http1Session::AwaitMovement() {
  last_moved_ = moved();
  Deadline(kStalledMs);
}

void Http1Session::AwaitTaker() {
  last_moved_ = moved();
  Deadline(kAfterErrorMs);
}

// A process that was killed leaves a FIN, as a caller does that has said all and waits: the two look the same, and its kernel
// acknowledges keepalive probes for a minute. Bytes are what the kernel resets. The caller that waits gets them anyway.
void Http1Session::AskCaller() {
  if (!running_ || !AwaitsAnswerOfOurs()) return;
  // What waits for a connection to its origin goes nowhere, and moves nothing.
  const bool unsent = route_ && !route_->open;
  const bool busy = (up_.waiting() > 0 && !unsent) || down_.waiting() > 0;
  if (!busy && !down_.WriteAhead()) return;
  services_.timers.Start(&ask_caller_, kHttp1AskCallerMs << down_.ahead());
  if (busy) return;
  AwaitMovement();
  Pump();
}

void Http1Session::OnDeadline() {
  if (!running_) return;
  if (cut_ || (failing_ && phase_ != Phase::kClosing)) {
    if (moved() != last_moved_) return AwaitTaker();
    if (!route_ || cut_) return End(cause_of_up(), ECONNRESET);
    LoseOrigin();
    return Pump();
  }
  if (asks_about_try()) {
    PassTry();
    return Pump();
  }
  if (lingers_) return End(CloseCause::kFinished);
  // A policy that only watches breaks nothing.
  if (reading_ == HttpReading::kOrPass && (phase_ == Phase::kHead || phase_ == Phase::kDeciding)) {
    up_.WriteRaw({reinterpret_cast<const char*>(head_.bytes()), head_.length()});
    Pass();
    EndRequest(RequestOutcome::kTimeout);
    return Pump();
  }
  if (phase_ == Phase::kHead || phase_ == Phase::kDeciding) {
    if (phase_ == Phase::kHead) BeginRequest();
    status_ = phase_ == Phase::kHead ? 408 : 503;
    down_.ForgetHeld();
    AnswerLast(static_cast<uint16_t>(status_), "timeout");
    EndRequest(RequestOutcome::kTimeout);
    return Pump();
  }
  if (phase_ == Phase::kOpen && status_ == 0 && !up_.held.empty()) return End(CloseCause::kHttpTimeout);
  // Nothing is due while the application thinks, or has nothing to say.
  const bool waits = (phase_ == Phase::kOpen && !request_done_) || up_.waiting() > 0 || down_.waiting() > 0;
  if (phase_ == Phase::kBetween && !waits) return;
  if (waits && moved() == last_moved_) return End(CloseCause::kHttpTimeout);
  AwaitMovement();
}

}  // namespace orlop
