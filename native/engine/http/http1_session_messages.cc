// 16 · data thread · a connection that is read: a head is whole, and waits for its verdict; bodies, ends and refusals go on as they come.
#include "engine/http/head_edits.h"
#include "engine/http/http1_session.h"

namespace orlop {
namespace {

// Time from the first byte of a head to its last.
constexpr uint64_t kHeadMs = 5'000;
// Time for TypeScript's answer to a request. TypeScript itself waits less, so this ends only what it forgot.
constexpr uint64_t kAnswerMs = 6'000;

}  // namespace

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
      if (&side == &down_ && copies()) copies()->Add(bytes + step.at, step.used - step.at);
      return true;
    case Http1Do::kEnd:
      OnMessageEnd(side, step, bytes + step.at, trailers);
      return true;
    case Http1Do::kReply:
      OnReply(side, step);
      return true;
    case Http1Do::kFinish:
      // The caller has not ended its half, and has read all that was written.
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
  // The beginning of a response's head has come, so the rest is due within kHeadMs.
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
  if (route_) std::string().swap(route_->response_edits);
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
    AwaitMovement();
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
  if (is_request && copies()) copies()->Whole();
  // A response that came early waits for the rest of its request.
  if (!step.closes && !exchange_.idle()) return;
  if (route_) route_->whole = request_done_ && exchange_.server_goes_on();
  if (open_) ReportEnd(RequestOutcome::kAnswered, answered_us(), {});
  if (step.closes || (failing_ && !route_) || number_ >= kHttp1MostRequests) return Close();
  AwaitRequest();
}

void Http1Session::AwaitRequest() {
  phase_ = Phase::kBetween;
  // While the caller still has to read the last answer, it must make progress; after that it may be idle for any time.
  down_.waiting() > 0 ? AwaitMovement() : deadline_.Cancel();
}

void Http1Session::OnReply(Http1Side& from, const Http1Step& step) {
  const bool is_request = &from == &down_;
  if (is_request && !open_) BeginRequest();
  // A policy that only watches breaks nothing. Where part of a message was framed anew that was not whole, nothing can pass as it came.
  const bool passes = reading_ == HttpReading::kOrPass && (is_request || request_done_) &&
                      step.refusal != Http1Refusal::kChunkEnd;
  // The application has ended without an answer. If the caller had left before, nobody misses the answer, and the record shows no error.
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

}  // namespace orlop
