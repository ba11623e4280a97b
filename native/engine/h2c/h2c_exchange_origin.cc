// 22 · data thread · a request of HTTP/2 on a connection that is served: a stream to the origin that its answer names, or another if that
// fails before its caller has got a byte.
#include <algorithm>
#include <string>
#include <utility>

#include "engine/core/arena.h"
#include "engine/h2c/grpc_refusal.h"
#include "engine/h2c/grpc_timeout.h"
#include "engine/h2c/h2c_exchange.h"
#include "engine/h2c/h2c_head.h"
#include "engine/http/head_edits.h"
#include "engine/http/request_ends.h"

namespace orlop {
namespace {

// TypeScript itself waits less.
constexpr uint64_t kAnswerMs = 6'000;
// For a stream: longer than a dial takes to fail, shorter than one through a tunnel may.
constexpr uint64_t kQueuedMs = 15'000;
// Deadlines of a request that are longer may be a few dozen milliseconds late.
constexpr uint64_t kCoarseMs = 400;
// An origin that was sent how much time its call has left may find it over so much sooner: its clock and ours count milliseconds.
constexpr uint64_t kClockApartMs = 2;
// What a caller still gets of a call before the status that ends it, and how long it may take for that.
constexpr size_t kMostAhead = 16 << 10;
constexpr uint64_t kStatusMs = 1'000;
constexpr size_t kMostKept = ORLOP_MOST_KEPT;

// Behind the response's own fields, or in the place of those of the same name.
void EditResponse(const HeadEdits& edits, std::string* names, std::vector<H2Field>* block) {
  const Http1Pair* const pairs = edits.pairs();
  size_t room = 0;
  for (size_t i = 0; i < edits.count(); i++) room += pairs[i].name.size();
  names->reserve(room);
  std::vector<H2Field> added;
  for (size_t i = 0; i < edits.count(); i++) {
    const size_t from = names->size();
    for (const char c : pairs[i].name)
      names->push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c);
    const std::string_view name = std::string_view(*names).substr(from);
    if (!pairs[i].adds) {
      const auto same = [name](const H2Field& field) { return field.name == name; };
      block->erase(std::remove_if(block->begin(), block->end(), same), block->end());
    }
    if (pairs[i].value.data() != nullptr) added.push_back({name, pairs[i].value});
  }
  block->insert(block->end(), added.begin(), added.end());
}

}  // namespace

void H2cExchange::AskForCopy(const Answer& answer) {
  if (!route_) return;
  if (!route_->copies)
    route_->copies = std::make_unique<MirrorCopies>(services_, route_->origins.mirrors(), of_.pod_idx);
  route_->copies->Ask(answer);
}

void H2cExchange::ForwardToOrigin(const Answer& answer) {
  H2cRoute& route = *route_;
  if (!route.Take(answer)) return Cut(NGHTTP2_INTERNAL_ERROR, RequestOutcome::kCut);
  phase_ = Phase::kOpen;
  services_.timers.Start(&deadline_, kStalledMs);
  // Of a later try the time that is left is what the first has left.
  if (!route.tried) {
    route.tried = true;
    const uint64_t now = services_.clock.now_ms();
    route.request_due_ms = answer.request_ms() > 0 ? now + answer.request_ms() : 0;
    if (route.copies) {
      route.copies->Begin(head_, HttpProtocol::kHttp2, is_https_);
      caller_.CopyTo(*route.copies);
    }
  }
  route.answered_us = 0;
  route.sent = false;
  grpc_status_ = -1;
  caller_.KeepGone(route.asks_any || route.asks_unsent ? kMostKept : 0);
  StartRouteDeadline();
  route.try_began_us = services_.clock.now_us();
  services_.timers.Start(&route.queued, kQueuedMs);
  route.origins.AwaitStream(route.origin, of_.pod_idx, *this);
}

void H2cExchange::OnOriginSession(H2Session& session) {
  H2cRoute& route = *route_;
  route.queued.Cancel();
  route.sent = true;
  Http1Head head;
  head_.Read(&head);
  Http1Edit edit = UnchangedEdit(head);
  edit.without_envoys = route.without_proxy_headers;
  const std::string_view target = route.target;
  if (!target.empty()) edit.path = target.substr(0, target.find('?'));
  if (!route.authority.empty()) edit.authority = route.authority;
  HeadEdits edits;
  edits.Read(route.request_edits);
  edit.pairs = edits.pairs();
  edit.pair_count = edits.count();
  H2cBlock block;
  if (!WriteH2cRequest(head_.bytes(), head, edit, is_https_ ? "https" : "http", &block))
    return Cut(NGHTTP2_INTERNAL_ERROR, RequestOutcome::kCut);
  std::string left;
  route.sent_due = false;
  if (route.due_ms > 0) {
    const uint64_t now = services_.clock.now_ms();
    route.sent_due =
        ShortenGrpcTimeout(route.due_ms > now ? route.due_ms - now : 1, is_grpc_, &left, &block.fields);
  }
  if (!app_.Ask(session, block.fields, caller_.drained()))
    AfterTry(TryFailure::kNotReached, false, AnswerForNotReached(CloseCause::kH2Failed, 0, "no stream"));
}

void H2cExchange::OnNoOriginSession(CloseCause cause, int detail, std::string_view message) {
  route_->queued.Cancel();
  AfterTry(TryFailure::kNotReached, false, AnswerForNotReached(cause, detail, message));
}

void H2cExchange::OnQueuedTooLong() {
  StopWaiting();
  OnNoOriginSession(CloseCause::kConnectTimeout, 0, "no stream in time");
}

// The response.

void H2cExchange::RespondFromOrigin(std::vector<H2Field>* block, int status, bool ends) {
  H2cRoute& route = *route_;
  constexpr uint64_t kMost = 0x7fffffff;
  route.answered_us = static_cast<uint32_t>(std::min(services_.clock.now_us() - route.try_began_us, kMost));
  HeadEdits edits;
  std::string names;
  if (edits.Read(route.response_edits)) EditResponse(edits, &names, block);
  caller_.KeepGone(0);
  status_ = status;
  phase_ = Phase::kOpen;
  caller_.Answer(*block, ends);
}

bool H2cExchange::HoldsResponse(const std::vector<H2Field>& block, int status, bool ends) {
  if (!route_ || status < 400 || !route_->asks_any) return false;
  if (!KeepFailed(TryFailure::kStatus, true, AnswerForLost())) return false;
  H2cFailedTry& failed = *route_->failed;
  failed.ends = ends;
  failed.answer.detail = status;
  size_t room = 0;
  for (const H2Field& field : block) room += field.name.size() + field.value.size();
  failed.text.reserve(room);
  const auto keep = [&failed](std::string_view text) {
    failed.text.append(text);
    return std::string_view(failed.text).substr(failed.text.size() - text.size());
  };
  for (const H2Field& field : block) {
    const std::string_view name = keep(field.name);
    failed.response.push_back({name, keep(field.value)});
  }
  AskAboutTry();
  return true;
}

// Tries that fail.

void H2cExchange::OnLost(H2cHalf& half, CloseCause cause, int, std::string_view) {
  if (&half != &app_ || !route_) return;
  if (phase_ == Phase::kAsking) {
    route_->failed->gone = true;
    return;
  }
  if (phase_ != Phase::kOpen) return;
  if (app_.ended()) {
    if (!caller_.ended()) caller_.StopPeer();
    return EndIfDone();
  }
  if (IsDue()) return OnRouteDeadline();
  AnswerInPlace answer = AnswerForLost();
  if (cause == CloseCause::kH2Failed)
    answer = {502,
              NameOf(Http1Refusal::kHttp2),
              RequestOutcome::kBadResponse,
              static_cast<int32_t>(Http1Refusal::kHttp2),
              {}};
  if (status_ != 0) return Cut(NGHTTP2_INTERNAL_ERROR, answer.outcome, answer.why);
  AfterTry(TryFailure::kLost, true, std::move(answer));
}

void H2cExchange::OnOriginReset(uint32_t code) {
  if (IsDue() || (code == NGHTTP2_CANCEL && route_->sent_due && IsDue(kClockApartMs)))
    return OnRouteDeadline();
  if (status_ != 0) return Cut(code, RequestOutcome::kResetByUpstream);
  // It has processed nothing (RFC 9113 8.7).
  const bool refused = code == NGHTTP2_REFUSED_STREAM;
  const bool asks =
      refused
          ? KeepFailed(TryFailure::kNotReached, false,
                       AnswerForNotReached(CloseCause::kH2Failed, static_cast<int>(code), "stream refused"))
          : KeepFailed(TryFailure::kLost, true, AnswerForLost());
  // Its caller may ask elsewhere, or learns what the origin has said.
  if (!asks) return Cut(code, RequestOutcome::kResetByUpstream);
  route_->failed->code = code;
  app_.Leave(NGHTTP2_CANCEL);
  AskAboutTry();
}

bool H2cExchange::KeepFailed(TryFailure what, bool sent, AnswerInPlace answer) {
  if (phase_ != Phase::kOpen || status_ != 0) return false;
  if (!route_->asks_any && (sent || !route_->asks_unsent)) return false;
  if (!caller_.may_rewind()) return false;
  route_->failed = std::make_unique<H2cFailedTry>();
  route_->failed->what = what;
  route_->failed->sent = sent;
  route_->failed->answer = std::move(answer);
  return true;
}

void H2cExchange::AfterTry(TryFailure what, bool sent, AnswerInPlace answer) {
  const bool asks = KeepFailed(what, sent, answer);
  StopWaiting();
  route_->queued.Cancel();
  app_.Leave(NGHTTP2_CANCEL);
  asks ? AskAboutTry() : AnswerInItsPlace(answer);
}

void H2cExchange::AnswerInItsPlace(const AnswerInPlace& answer) {
  route_->deadline.Cancel();
  status_ = answer.status;
  HeadEdits edits;
  edits.ReadSharing(route_->response_edits);
  Reply(status_, answer.body, edits.pairs(), edits.count());
  Report(answer.outcome, answer.why, answer.message);
}

void H2cExchange::AskAboutTry() {
  const H2cFailedTry& failed = *route_->failed;
  phase_ = Phase::kAsking;
  StartDeadlineAt(route_->request_due_ms);
  services_.timers.Start(&deadline_, kAnswerMs);
  Http1Head head;
  head_.Read(&head);
  EmitTryFailed(
      services_.events, of_, number_, head_.bytes(), head,
      {failed.what, failed.answer.detail, failed.what == TryFailure::kNotReached ? failed.answer.why : 0,
       failed.sent, services_.clock.now_us() - route_->try_began_us});
}

void H2cExchange::OnAnswerToTry(const Answer& answer) {
  switch (answer.type()) {
    case ORLOP_ANSWER_FORWARD:
      if (!caller_.Rewind()) return PassTry();
      route_->failed.reset();
      app_.Leave(NGHTTP2_CANCEL);
      app_.Begin();
      return ForwardToOrigin(answer);
    case ORLOP_ANSWER_HOLD: {
      deadline_.Cancel();
      const uint64_t ms = answer.hold_ms();
      (ms < kCoarseMs ? services_.pauses : services_.timers).Start(&route_->pause, ms);
      return;
    }
    case ORLOP_ANSWER_REPLY:
      app_.Leave(NGHTTP2_CANCEL);
      route_->failed.reset();
      return Deny(answer);
    default:
      return PassTry();
  }
}

void H2cExchange::PassTry() {
  const std::unique_ptr<H2cFailedTry> failed = std::move(route_->failed);
  if (failed->what == TryFailure::kStatus && !failed->gone) {
    services_.timers.Start(&deadline_, kStalledMs);
    RespondFromOrigin(&failed->response, failed->answer.detail, failed->ends);
    return EndIfDone();
  }
  phase_ = Phase::kOpen;
  if (failed->code != 0) return Cut(failed->code, RequestOutcome::kResetByUpstream);
  app_.Leave(NGHTTP2_CANCEL);
  AnswerInItsPlace(failed->answer);
}

// Deadlines.

void H2cExchange::StartRouteDeadline() {
  const uint64_t due = route_->try_ms > 0 ? services_.clock.now_ms() + route_->try_ms : 0;
  const uint64_t request_due = route_->request_due_ms;
  route_->due_ms = request_due > 0 && (due == 0 || request_due < due) ? request_due : due;
  StartDeadlineAt(route_->due_ms);
}

void H2cExchange::StartDeadlineAt(uint64_t due_ms) {
  if (due_ms == 0) return route_->deadline.Cancel();
  const uint64_t now = services_.clock.now_ms();
  const uint64_t left = due_ms > now ? due_ms - now : 0;
  // The wheel of pauses turns too fast for what waits long.
  (left < kCoarseMs ? services_.pauses : services_.timers).Start(&route_->deadline, left);
}

bool H2cExchange::IsDue(uint64_t soon_ms) const {
  return route_->due_ms > 0 && services_.clock.now_ms() + soon_ms >= route_->due_ms;
}

void H2cExchange::OnRouteDeadline() {
  if (phase_ != Phase::kOpen && phase_ != Phase::kAsking) return;
  if (status_ != 0) {
    // The answer has come whole, maybe in this turn: it goes on.
    if (app_.ended()) return;
    if (is_grpc_ && app_.waiting() <= kMostAhead) return EndCallAtDeadline();
    return Cut(NGHTTP2_CANCEL, RequestOutcome::kDeadline);
  }
  // Of the whole request nothing is left, or of this try.
  const uint64_t request_due = route_->request_due_ms;
  const bool over =
      request_due > 0 && (route_->due_ms == request_due || services_.clock.now_ms() >= request_due);
  if (over) route_->asks_any = route_->asks_unsent = false;
  route_->failed.reset();
  route_->pause.Cancel();
  phase_ = Phase::kOpen;
  AfterTry(TryFailure::kTimeout, route_->sent, {504, "timeout", RequestOutcome::kDeadline, 0, {}});
}

void H2cExchange::EndCallAtDeadline() {
  constexpr int kTimeout = 504;
  grpc_status_ = static_cast<int8_t>(GrpcStatusOf(kTimeout));
  Report(RequestOutcome::kDeadline, 0);
  phase_ = Phase::kReplied;
  route_->CancelTimers();
  services_.timers.Start(&deadline_, kStatusMs);
  app_.Leave(NGHTTP2_CANCEL);
  caller_.DropPayload();
  caller_.StopPeer();
  const std::string number = std::to_string(grpc_status_);
  app_.EndWith({{"grpc-status", number}, {"grpc-message", "timeout"}});
}

}  // namespace orlop
