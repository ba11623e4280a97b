// 22 · data thread · a connection that is served: each request takes a link to the origin that its answer names, and gives it back.
#include <algorithm>
#include <string>

#include "engine/core/answer.h"
#include "engine/core/arena.h"
#include "engine/http/head_edits.h"
#include "engine/http/http1_session.h"
#include "engine/http/request_ends.h"

namespace orlop {
namespace {

// Deadlines of a request that are longer may be a few dozen milliseconds late.
constexpr uint64_t kCoarseMs = 400;

// RFC 9110 section 9.2.2, and nothing that a body may have changed on its way.
bool MayBeReplayed(const uint8_t* bytes, const Http1Head& head) {
  const bool empty = head.framing == Http1Framing::kNone ||
                     (head.framing == Http1Framing::kLength && head.content_length == 0);
  if (!empty || head.upgrades_websocket) return false;
  const std::string_view method(reinterpret_cast<const char*>(bytes) + head.method.at, head.method.length);
  constexpr std::string_view kIdempotent[] = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"};
  return std::any_of(std::begin(kIdempotent), std::end(kIdempotent),
                     [method](std::string_view known) { return known == method; });
}

}  // namespace

void Http1Session::Serve(ByteEnd& down, OriginSource& origins, SlotRef ref, uint32_t pod_idx) {
  exchange_.SetApart();
  route_ = std::make_unique<Http1Route>(
      origins, [](void* self) { static_cast<Http1Session*>(self)->OnRouteDeadline(); }, this);
  Start(down, route_->nobody, ref, pod_idx);
}

ByteEnd* Http1Session::StartOrigin(ByteEnd::User& user) {
  if (!route_) return nullptr;
  route_->link->StartBytes(user);
  return up_.end;
}

void Http1Session::ForwardToOrigin(const Answer& answer, const Http1Head& head, std::string_view body) {
  HeadEdits edits;
  // Once a response is there it is too late to find them wrong.
  if (!edits.Read(answer.Bytes(3))) return End(CloseCause::kHttpRefused);
  route_->response_edits = answer.Bytes(3);
  route_->origin = answer.origin();
  route_->try_ms = answer.try_ms();
  // Of a later try the time that is left is what the first has left.
  if (!route_->tried) {
    route_->tried = true;
    route_->caller_ended = false;
    const uint64_t now = services_.clock.now_ms();
    route_->request_due_ms = answer.request_ms() > 0 ? now + answer.request_ms() : 0;
  }
  route_->answered_us = 0;
  route_->asks_any = answer.asks_any() && !head.upgrades_websocket;
  route_->asks_unsent = answer.asks_unsent();
  route_->head_bytes = up_.waiting();
  up_.KeepBody(route_->asks_any ? ORLOP_MOST_KEPT : 0);
  const bool replays = MayBeReplayed(head_.bytes(), head);
  if (replays) route_->replay = up_.Waiting();
  // The first request of a connection is not lost to a link that its origin is about to end: its caller would not expect that of a connection
  // which it has just opened.
  up_.WriteKept(body);
  const bool fresh = head.upgrades_websocket || (!replays && number_ == 1);
  TakeLink(fresh ? LinkUse::kUnused : replays ? LinkUse::kAny : LinkUse::kTrusted);
}

void Http1Session::AskForCopy(const Answer& answer) {
  if (!route_) return;
  if (!route_->copies)
    route_->copies = std::make_unique<MirrorCopies>(services_, route_->origins.mirrors(), of_.pod_idx);
  route_->copies->Ask(answer);
}

void Http1Session::TakeLink(LinkUse use) {
  StartRouteDeadline();
  route_->try_began_us = services_.clock.now_us();
  route_->link = route_->origins.Take(route_->origin, of_.pod_idx, use, *this);
  route_->open = route_->over = route_->whole = false;
  if (route_->link) return route_->link->Open();
  OnOriginFailed(CloseCause::kNoSocket, 0, "no such origin");
}

void Http1Session::NoteAnswer() {
  constexpr uint64_t kMost = 0x7fffffff;
  route_->answered_us =
      static_cast<uint32_t>(std::min(services_.clock.now_us() - route_->try_began_us, kMost));
}

void Http1Session::OnOriginOpen() {
  route_->open = true;
  failing_ = false;
  up_.end = &route_->link->end();
  route_->link->StartBytes(*this);
  Pump();
}

void Http1Session::SettleLink() {
  if (!route_->link || !route_->over || upgraded_) return;
  const bool kept = route_->whole && up_.waiting() == 0 && up_.held.empty() && !failing_;
  route_->deadline.Cancel();
  if (!kept) return DropLink(route_->whole);
  OriginLink* const link = route_->link;
  route_->link = nullptr;
  std::string().swap(route_->replay);
  std::string().swap(route_->response_edits);
  up_.end = &route_->nobody;
  link->GiveBack();
}

void Http1Session::DropLink(bool in_order) {
  OriginLink* const link = route_->link;
  route_->deadline.Cancel();
  route_->link = nullptr;
  std::string().swap(route_->replay);
  up_.end = &route_->nobody;
  up_.DropWaiting();
  up_.ForgetHeld();
  failing_ = answers_ = false;
  if (link) link->End(in_order);
}

void Http1Session::LoseOrigin() {
  if (!open_) {
    // A websocket.
    if (upgraded_) return user_.OnSessionEnded(CloseCause::kResetByUpstream, 0);
    return DropLink(false);
  }
  // The rest of a response that is held.
  if (route_->failed) {
    route_->failed->gone = true;
    return DropLink(false);
  }
  const bool silent = !answers_ && up_.held.empty() && status_ == 0;
  const bool used = route_->link && route_->link->used();
  std::string replay = std::move(route_->replay);
  if (status_ != 0) {
    DropLink(false);
    return LoseApplication(0);
  }
  if (silent && used) route_->link->WasStale();
  const bool repeats = silent && used && !replay.empty();
  const AnswerInPlace answer = AnswerForLost();
  const bool asks = !repeats && KeepFailed(TryFailure::kLost, true, answer);
  DropLink(false);
  if (asks) return AskAboutTry();
  if (repeats) {
    // Its origin has ended it as we have sent: a connection that nobody has used before says what it is worth.
    up_.WriteRaw(replay);
    return TakeLink(LinkUse::kUnused);
  }
  if (silent && used) {
    services_.turn.Again(this);
    return Finish();
  }
  AnswerForOrigin(answer.status, answer.body, answer.outcome, answer.why, {});
}

void Http1Session::OnOriginFailed(CloseCause cause, int detail, std::string_view message) {
  route_->link = nullptr;
  AfterTry(TryFailure::kNotReached, false, AnswerForNotReached(cause, detail, message));
}

void Http1Session::AfterTry(TryFailure what, bool sent, AnswerInPlace answer) {
  const bool asks = KeepFailed(what, sent, answer);
  DropLink(false);
  if (asks) return AskAboutTry();
  if (running_ && open_)
    AnswerForOrigin(answer.status, answer.body, answer.outcome, answer.why, answer.message);
}

void Http1Session::OnOriginLost() {
  route_->link = nullptr;
  if (!running_ && !upgraded_) return DropLink(false);
  LoseOrigin();
  Pump();
}

void Http1Session::AnswerForOrigin(uint16_t status, std::string_view body, RequestOutcome outcome,
                                   int32_t why, std::string_view message) {
  const bool to_head = exchange_.answers_head();
  const Http1Refused refused = exchange_.Answer();
  WriteAnswer(status, refused.connection, to_head, body);
  status_ = status;
  ReportEnd(outcome, why, message);
  GoOnBehind(refused);
}

void Http1Session::ReplyForOrigin(const Answer& answer) {
  const bool to_head = exchange_.answers_head();
  const Http1Refused refused = exchange_.Answer();
  WriteReply(answer, refused.connection, to_head);
  ReportEnd(RequestOutcome::kReplied, 0, {});
  GoOnBehind(refused);
}

void Http1Session::GoOnBehind(const Http1Refused& refused) {
  refused.closes || number_ >= kHttp1MostRequests ? Close() : AwaitRequest();
  services_.turn.Again(this);
}

void Http1Session::StartRouteDeadline() {
  const uint64_t due = route_->try_ms > 0 ? services_.clock.now_ms() + route_->try_ms : 0;
  const uint64_t request_due = route_->request_due_ms;
  StartDeadlineAt(request_due > 0 && (due == 0 || request_due < due) ? request_due : due);
}

void Http1Session::StartDeadlineAt(uint64_t due_ms) {
  if (due_ms == 0) return route_->deadline.Cancel();
  const uint64_t now = services_.clock.now_ms();
  const uint64_t left = due_ms > now ? due_ms - now : 0;
  // The wheel of pauses turns too fast for what waits long.
  (left < kCoarseMs ? services_.pauses : services_.timers).Start(&route_->deadline, left);
}

void Http1Session::OnRouteDeadline() {
  if (!running_ || !open_) return;
  const bool begun = status_ != 0;
  if (!begun) {
    // Of the whole request nothing is left, or of this try.
    const bool over = route_->request_due_ms > 0 && services_.clock.now_ms() >= route_->request_due_ms;
    if (over) route_->asks_any = route_->asks_unsent = false;
    route_->failed.reset();
    return AfterTry(TryFailure::kTimeout, route_->open, {504, "timeout", RequestOutcome::kDeadline, 0, {}});
  }
  EndRequest(RequestOutcome::kDeadline);
  End(CloseCause::kHttpTimeout);
}

}  // namespace orlop
