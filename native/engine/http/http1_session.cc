// 16 · data thread · a connection that is read: what the exchange says becomes events, answers, bytes and deadlines.
#include "engine/http/http1_session.h"

#include <cerrno>
#include <utility>

#include "engine/core/answer.h"
#include "engine/http/head_edits.h"

namespace orlop {
namespace {

// From the first byte of a head to its last.
constexpr uint64_t kHeadMs = 5'000;
// TypeScript itself waits less.
constexpr uint64_t kAnswerMs = 6'000;
// A body in which nothing moves, although one side could.
constexpr uint64_t kStalledMs = 300'000;
constexpr uint64_t kAfterErrorMs = 1'000;
constexpr uint64_t kLingerMs = 2'000;

constexpr Http1Pair kPlainText = {"content-type", "text/plain"};

// What the text has of the heap: also what is reserved, since that is what an idle connection would keep.
size_t HeapOf(const std::string& text) {
  return text.capacity() > std::string().capacity() ? text.capacity() : 0;
}

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

}  // namespace

Http1Session::Http1Session(const EngineServices& services, User& user, HttpReading reading)
    : services_(services),
      user_(user),
      down_(services.buffers.chunks),
      up_(services.buffers.chunks),
      reading_(reading),
      deadline_([](void* self) { static_cast<Http1Session*>(self)->OnDeadline(); }, this),
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
  Deadline(kAfterErrorMs);
}

void Http1Session::OnReset(ByteEnd& end, int code) {
  if (route_ && running_ && &end == up_.end) return LoseOrigin();
  End(&end == down_.end ? CloseCause::kResetByDownstream : cause_of_up(), code);
}

// What the exchange says.

bool Http1Session::Do(Http1Side& side, const Http1Step& step, const uint8_t* bytes, const Http1Head& head,
                      const Http1TrailerSection& trailers) {
  Http1Side& other = &side == &down_ ? up_ : down_;
  switch (step.what) {
    case Http1Do::kJudge:
      OnRequestHead(bytes, step.used, head);
      return true;
    case Http1Do::kHead:
      OnResponseHead(bytes, step, head);
      return true;
    case Http1Do::kPayload:
      other.WritePayload(bytes + step.at, step.used - step.at);
      return true;
    case Http1Do::kEnd:
      OnMessageEnd(side, step, bytes + step.at, trailers);
      return true;
    case Http1Do::kReply:
      OnReply(side, step);
      return true;
    case Http1Do::kFinish:
      // A caller that has not ended, and was heard for long enough.
      if (&side == &down_ && !side.end->ended() && down_.waiting() == 0) {
        End(CloseCause::kFinished);
      } else {
        Finish();
      }
      return false;
    case Http1Do::kAbort:
      OnAbort(side, step);
      return false;
    case Http1Do::kLost:
      LoseOrigin();
      return false;
    case Http1Do::kWait:
    case Http1Do::kHold:
    case Http1Do::kDiscard:
      break;
  }
  return true;
}

void Http1Session::OnWait(Http1Side& side, const uint8_t* bytes, size_t length) {
  if (length == 0) return;
  // The beginning of a response's head: the rest has to follow it.
  if (&side == &up_) {
    if (phase_ == Phase::kOpen && status_ == 0 && !answers_) Deadline(kHeadMs);
    answers_ = true;
    return;
  }
  // An empty line behind a body is no beginning of a request (RFC 9112 section 2.2).
  if (phase_ != Phase::kBetween || (length <= 2 && bytes[0] == '\r')) return;
  phase_ = Phase::kHead;
  began_us_ = services_.clock.now_us();
  Deadline(kHeadMs);
}

void Http1Session::BeginRequest() {
  if (phase_ == Phase::kBetween) began_us_ = services_.clock.now_us();
  number_++;
  open_ = true;
  status_ = 0;
  request_done_ = upgraded_ = answers_ = false;
  up_.ForgetPayload();
  down_.ForgetPayload();
}

void Http1Session::OnRequestHead(const uint8_t* bytes, size_t length, const Http1Head& head) {
  BeginRequest();
  phase_ = Phase::kDeciding;
  head_.Keep(bytes, length, head);
  if (!services_.shares.Open(this, head_.held())) return OnOverBudget(bytes, length);
  if (services_.shares.MayGo(this, length)) EmitRequest(services_.events, of_, number_, bytes, head);
  Deadline(kAnswerMs);
}

void Http1Session::Ask() const {
  Http1Head head;
  head_.Read(&head);
  EmitRequest(services_.events, of_, number_, head_.bytes(), head);
}

void Http1Session::OnOverBudget(const uint8_t* bytes, size_t length) {
  // A policy that only watches breaks nothing.
  if (reading_ == HttpReading::kOrPass) {
    up_.WriteRaw({reinterpret_cast<const char*>(bytes), length});
    Pass();
  } else {
    status_ = StatusOf(Http1Refusal::kPodBudget);
    AnswerLast(static_cast<uint16_t>(status_), NameOf(Http1Refusal::kPodBudget));
  }
  EndRequest(RequestOutcome::kRefused, Http1Refusal::kPodBudget);
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

void Http1Session::OnResponseHead(const uint8_t* bytes, const Http1Step& step, const Http1Head& head) {
  if (!HoldsResponse(bytes, step, head)) WriteResponse(bytes, step.used, step.edit, step.opaque, head);
}

void Http1Session::WriteResponse(const uint8_t* bytes, size_t length, Http1Edit edit, bool opaque,
                                 const Http1Head& head) {
  edit.keep_alive = !route_;
  HeadEdits edits;
  if (route_ && head.status >= 200 && edits.Read(route_->response_edits)) {
    edit.pairs = edits.pairs();
    edit.pair_count = edits.count();
  }
  down_.WriteHead(bytes, length, head, edit);
  answers_ = false;
  AwaitMovement();
  if (route_ && (opaque || head.status >= 200)) NoteAnswer();
  if (opaque) {
    status_ = 101;
    upgraded_ = true;
    ReportEnd(RequestOutcome::kUpgraded, answered_us(), {});
    deadline_.Cancel();
    phase_ = Phase::kOpaque;
  } else if (head.status >= 200) {
    status_ = head.status;
  }
}

void Http1Session::OnMessageEnd(Http1Side& from, const Http1Step& step, const uint8_t* section,
                                const Http1TrailerSection& trailers) {
  const bool is_request = &from == &down_;
  (is_request ? up_ : down_).WriteEnd(section, trailers);
  if (is_request) request_done_ = true;
  // A response that came early waits for the rest of its request.
  if (!step.closes && !exchange_.idle()) return;
  if (route_) route_->whole = request_done_ && exchange_.server_goes_on();
  if (open_) ReportEnd(RequestOutcome::kAnswered, answered_us(), {});
  if (step.closes || (failing_ && !route_) || number_ >= kHttp1MostRequests) return Close();
  AwaitRequest();
}

void Http1Session::AwaitRequest() {
  phase_ = Phase::kBetween;
  // The caller may be slow to read the last answer.
  down_.waiting() > 0 ? AwaitMovement() : deadline_.Cancel();
}

void Http1Session::OnReply(Http1Side& from, const Http1Step& step) {
  const bool is_request = &from == &down_;
  if (is_request && !open_) BeginRequest();
  // A policy that only watches breaks nothing. Where part of a message was framed anew that was not whole, nothing can pass as it came.
  const bool passes = reading_ == HttpReading::kOrPass && (is_request || request_done_) &&
                      step.refusal != Http1Refusal::kChunkEnd;
  // The application has ended without a word. A caller that left before has no use for the answer, and no error was met.
  const bool ended = !is_request && step.refusal == Http1Refusal::kHeadEnd;
  const bool left = ended && caller_left();
  if (!passes) AnswerLast(step.status, NameOf(step.refusal));
  status_ = left ? 0 : step.status;
  const RequestOutcome refused = is_request ? RequestOutcome::kRefused : RequestOutcome::kBadResponse;
  const RequestOutcome gone = left ? RequestOutcome::kResetByDownstream : RequestOutcome::kResetByUpstream;
  EndRequest(ended ? gone : refused, step.refusal);
  if (passes) PassFrom(from);
}

void Http1Session::OnAbort(Http1Side& from, const Http1Step& step) {
  const bool is_request = &from == &down_;
  if (step.refusal == Http1Refusal::kNone)
    return End(is_request ? CloseCause::kResetByDownstream : cause_of_up());
  EndRequest(is_request ? RequestOutcome::kRefused : RequestOutcome::kBadResponse, step.refusal);
  const bool passes = reading_ == HttpReading::kOrPass && !is_request && request_done_ &&
                      step.refusal != Http1Refusal::kChunkEnd;
  if (passes) return PassFrom(from);
  End(CloseCause::kHttpRefused, static_cast<int>(step.refusal));
}

void Http1Session::Finish() {
  // A response that was begun is a whole response in the end.
  if (down_.ahead() > 0)
    WriteAnswer(502, Http1Option::kClose, exchange_.answers_head(), NameOf(Http1Refusal::kHeadEnd));
  EndRequest(OutcomeOf(cause_of_up()));
  finishes_ = true;
  Close();
}

// What TypeScript says.

void Http1Session::OnAnswer(const Answer& answer) {
  const bool went_on = upgraded_ || phase_ == Phase::kOpen;
  if (answer.type() == ORLOP_ANSWER_ASK_AGAIN) {
    // What waits for its turn is judged by what holds then.
    if (went_on || (phase_ == Phase::kDeciding && !awaits_turn())) Ask();
    return;
  }
  if (answer.expect() != number_) return;
  if (asks_about_try()) return OnAnswerToTry(answer);
  // A request that went on is refused after all: what was begun cannot be taken back.
  if (went_on && answer.type() == ORLOP_ANSWER_REPLY)
    return user_.OnSessionEnded(CloseCause::kClosedByAnswer, 0);
  if (!running_ || phase_ != Phase::kDeciding) return;
  answer.type() == ORLOP_ANSWER_FORWARD ? Forward(answer) : Deny(answer);
  Pump();
}

void Http1Session::Forward(const Answer& answer) {
  Http1Head head;
  head_.Read(&head);
  if (!WriteRequest(answer, head, exchange_.Forward(head))) return;
  phase_ = Phase::kOpen;
  AwaitMovement();
  if (route_) ForwardToOrigin(answer, head, {});
}

bool Http1Session::WriteRequest(const Answer& answer, const Http1Head& head, Http1Edit edit) {
  const std::string_view target = answer.Text(0);
  edit.without_envoys = answer.without_proxy_headers();
  edit.keep_alive = !route_;
  if (!target.empty()) edit.path = target.substr(0, target.find('?'));
  const std::string_view authority = answer.Text(1);
  if (!authority.empty()) edit.authority = authority;
  HeadEdits edits;
  if (const std::string_view changed = answer.Bytes(2); !changed.empty()) {
    if (!edits.Read(changed)) {
      End(CloseCause::kHttpRefused);
      return false;
    }
    edit.pairs = edits.pairs();
    edit.pair_count = edits.count();
  }
  if (route_) SettleLink();
  if (up_.WriteHead(head_.bytes(), head_.length(), head, edit)) return true;
  End(CloseCause::kHttpRefused);
  return false;
}

void Http1Session::Deny(const Answer& answer) {
  HeadEdits edits;
  const bool written = edits.Read(answer.Bytes(1));
  const int status = written ? answer.status() : 500;
  const std::string_view body = written ? answer.Text(0) : "internal error";
  if (!body.empty()) edits.Add(kPlainText);
  const bool to_head = exchange_.answers_head();
  Http1Head head;
  head_.Read(&head);
  const Http1Refused refused = exchange_.Refuse(head);
  down_.WriteReply(
      {static_cast<uint16_t>(status), refused.connection, to_head, edits.pairs(), edits.count(), body});
  status_ = status;
  EndRequest(RequestOutcome::kReplied);
  refused.closes || number_ >= kHttp1MostRequests ? Close() : AwaitRequest();
}

void Http1Session::AnswerLast(uint16_t status, std::string_view body) {
  WriteAnswer(status, Http1Option::kClose, exchange_.answers_head(), body);
  exchange_.Close();
  Close();
}

void Http1Session::WriteAnswer(uint16_t status, Http1Option connection, bool to_head, std::string_view body) {
  down_.WriteReply({status, connection, to_head, &kPlainText, 1, body});
}

// Ends.

void Http1Session::ReportEnd(RequestOutcome outcome, int32_t why, std::string_view message) {
  open_ = false;
  if (route_) {
    route_->over = true;
    route_->tried = false;
    route_->failed.reset();
  }
  const uint64_t duration_us = services_.clock.now_us() - began_us_;
  EmitRequestEnded(services_.events, of_, number_,
                   {outcome, why, status_, up_.payload(), down_.payload(), duration_us, message});
  // A websocket lives on what its request was allowed, which may be asked again.
  if (upgraded_) return;
  ForgetHead();
  services_.shares.Close(this);
}

void Http1Session::Pass() {
  deadline_.Cancel();
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

void Http1Session::AwaitMovement() {
  last_moved_ = moved();
  Deadline(kStalledMs);
}

// A process that was killed leaves a FIN, as a caller does that has said all and waits: the two look the same, and its kernel
// acknowledges keepalive probes for a minute. Bytes are what the kernel resets. The caller that waits gets them anyway.
void Http1Session::AskCaller() {
  if (!running_ || !AwaitsAnswerOfOurs()) return;
  const bool busy = up_.waiting() > 0 || down_.waiting() > 0;
  if (!busy && !down_.WriteAhead()) return;
  services_.timers.Start(&ask_caller_, kHttp1AskCallerMs << down_.ahead());
  if (busy) return;
  AwaitMovement();
  Pump();
}

void Http1Session::OnDeadline() {
  if (!running_) return;
  if (failing_ && phase_ != Phase::kClosing) {
    if (!route_) return End(cause_of_up(), ECONNRESET);
    return LoseOrigin();
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
