// 16 · data thread · a connection of HTTP/2: reads both sides, writes both, and ends with either.
#include "engine/h2c/h2c_session.h"

#include <cerrno>
#include <utility>

#include "engine/core/answer.h"
#include "engine/http/request_ends.h"

namespace orlop {
namespace {

// Time for the caller's SETTINGS, and from the first frame of a head to its last.
constexpr uint64_t kHeadMs = 5'000;
constexpr uint64_t kLingerMs = 2'000;
// How often a caller that has ended its half is checked for still being there.
constexpr uint64_t kAskCallerMs = 1'000;
// Requests that may wait until the application has learnt of their end: twice as many as a caller may have open.
constexpr size_t kMostExchanges = 200;

}  // namespace

H2cSession::H2cSession(const EngineServices& services, User& user, HttpReading reading, const RequestsOf& of)
    : services_(services),
      user_(user),
      reading_(reading),
      of_(of),
      caller_(services, *this),
      app_(services, *this),
      head_due_([](void* self) { static_cast<H2cSession*>(self)->OnHeadDue(); }, this),
      deadline_([](void* self) { static_cast<H2cSession*>(self)->OnDeadline(); }, this) {}

void H2cSession::Start(ByteEnd& caller, ByteEnd& application, std::string from_caller,
                       std::string from_application) {
  Begin(caller_.Open(Role::kServer, caller, std::move(from_caller)) &&
        app_.Open(Role::kClient, application, std::move(from_application)));
}

void H2cSession::Serve(ByteEnd& caller, OriginSource& origins, std::string from_caller) {
  origins_ = &origins;
  Begin(caller_.Open(Role::kServer, caller, std::move(from_caller)));
}

void H2cSession::Begin(bool opened) {
  running_ = true;
  services_.shares.Begin(this, of_.pod_idx);
  if (!opened) return End(CloseCause::kShed);
  services_.timers.Start(&head_due_, kHeadMs);
  // With a reading that nobody asks for, the connections of a pod that begin together would take a turn that long as they are many.
  services_.shares.MayRead(this) ? Pump() : OnWork();
}

void H2cSession::Stop(CloseCause cause) {
  running_ = false;
  head_due_.Cancel();
  deadline_.Cancel();
  Turn::Task::Remove();
  Turn::Flushable::Remove();
  while (!exchanges_.empty()) exchanges_.back()->Stop(OutcomeOf(cause));
  // Exchanges that stopped have frames to write, which nobody writes any more.
  Turn::Flushable::Remove();
  caller_.Stop();
  app_.Stop();
  services_.shares.End(this);
}

void H2cSession::End(CloseCause cause, int detail) {
  if (!running_) return;
  running_ = false;
  user_.OnSessionEnded(cause, detail);
}

size_t H2cSession::buffered() const {
  size_t bytes = caller_.waiting() + app_.waiting();
  for (const H2cExchange* exchange : exchanges_) bytes += exchange->buffered();
  return bytes;
}

// What the ends say.

void H2cSession::OnReady(ByteEnd& end) {
  if (!running_) return;
  // A socket keeps its bytes until it is the pod's turn.
  if (closing_ || services_.shares.MayRead(this)) return Pump();
  if (!end.failing()) return;
  // Nobody waits for answers to what a caller has sent before its reset. An application may have answered before its own.
  if (&end == &caller_.end()) return End(CloseCause::kResetByDownstream, ECONNRESET);
  if (pumping_ || !has_app()) return;
  pumping_ = true;
  ReadApplication();
  pumping_ = false;
  services_.shares.Spend(this, app_.TakeWork());
  OnWork();
}

void H2cSession::OnArrived(ByteEnd&) {
  Pump();
}

void H2cSession::OnReset(ByteEnd& end, int code) {
  End(&end == &caller_.end() ? CloseCause::kResetByDownstream : CloseCause::kResetByUpstream, code);
}

ssize_t H2cSession::OnPull(ByteEnd& end, const Pieces& into, bool* more) {
  if (!running_) return -EAGAIN;
  if (&end == &app_.end()) return app_.Pull(into, more);
  const ssize_t got = caller_.Pull(into, more);
  // The last that waited, the caller's GOAWAY maybe, kept the connection from its end.
  if (got > 0 && has_ended() && !caller_.waits_to_write()) OnWork();
  return got;
}

void H2cSession::Pump() {
  if (!running_ || pumping_) return;
  // Both halves of the caller's stream are over, and not by us: nobody waits for an answer.
  if (caller_.end().pulls() && caller_.end().shut() && !closing_)
    return End(exchanges_.empty() ? CloseCause::kFinished : CloseCause::kResetByDownstream);
  pumping_ = true;
  if (has_app()) ReadApplication();
  if (running_) ReadCaller();
  pumping_ = false;
  services_.shares.Spend(this, caller_.TakeWork() + app_.TakeWork());
  OnWork();
}

void H2cSession::ReadCaller() {
  if (closing_) {
    caller_ended_ = !caller_.Discard();
    return;
  }
  if (caller_ended_) return;
  switch (caller_.Receive()) {
    case H2cSide::Got::kNothing:
      break;
    case H2cSide::Got::kMore:
      services_.turn.Again(this);
      break;
    case H2cSide::Got::kBroken:
      return Refuse();
    case H2cSide::Got::kFailed:
      return End(CloseCause::kResetByDownstream, caller_.error());
    case H2cSide::Got::kEnded:
      caller_ended_ = true;
      for (size_t at = exchanges_.size(); at > 0; at--) exchanges_[at - 1]->LoseCaller();
      // A process that was killed leaves a FIN, as a caller does that waits for answers. Bytes are what the kernel resets.
      if (!exchanges_.empty()) OnDeadline();
      return;
  }
  if (caller_.abuses()) return Refuse();
  if (caller_.frames().settings_received() && exchanges_.empty()) head_due_.Cancel();
}

void H2cSession::ReadApplication() {
  switch (app_.Receive()) {
    case H2cSide::Got::kNothing:
      break;
    case H2cSide::Got::kMore:
      services_.turn.Again(this);
      break;
    case H2cSide::Got::kBroken:
      return LoseApplication(RequestOutcome::kBadResponse, Http1Refusal::kHttp2);
    case H2cSide::Got::kFailed:
    case H2cSide::Got::kEnded:
      if (app_.is_other()) return LoseApplication(RequestOutcome::kBadResponse, Http1Refusal::kHttp2);
      return LoseApplication(RequestOutcome::kResetByUpstream, Http1Refusal::kHeadEnd);
  }
  if (app_.abuses()) LoseApplication(RequestOutcome::kBadResponse, Http1Refusal::kHttp2);
}

// Requests.

H2Stream* H2cSession::OnRequest() {
  if (leaving_ || retired_ || closing_ || exchanges_.size() >= kMostExchanges ||
      services_.room.LacksMemory(of_.pod_idx))
    return nullptr;
  if (exchanges_.empty()) services_.shares.Open(this, 0);
  services_.timers.Start(&head_due_, kHeadMs);
  auto* const exchange = new H2cExchange(services_, *this, of_, reading_, exchanges_.size());
  exchanges_.push_back(exchange);
  return exchange->stream();
}

int32_t H2cSession::OnRequestHead() {
  // nghttp2 reads the blocks of a connection one behind the other.
  head_due_.Cancel();
  return ++number_;
}

H2Session* H2cSession::Application() {
  return !has_app() || leaving_ || app_.frames().crowded() ? nullptr : &app_.frames();
}

void H2cSession::OnExchangeEnded(H2cExchange& exchange) {
  H2cExchange* const last = exchanges_.back();
  exchanges_[exchange.place] = last;
  last->place = exchange.place;
  exchanges_.pop_back();
  if (origins_) sent_ += exchange.sent();
  if (!running_ || !exchanges_.empty()) return;
  services_.shares.Close(this);
  OnWork();
}

void H2cSession::OnAnswer(const Answer& answer) {
  if (!running_) return;
  if (answer.type() == ORLOP_ANSWER_ASK_AGAIN) {
    for (H2cExchange* exchange : exchanges_) exchange->AskAgain();
    return;
  }
  for (H2cExchange* exchange : exchanges_) {
    if (exchange->number() == answer.expect()) return exchange->OnAnswer(answer);
  }
}

// Ends.

void H2cSession::OnGoaway(H2cSide& side) {
  // A caller that says GOAWAY sends no further requests. An application that says it gets none, and the caller is asked to connect anew.
  if (&side == &caller_ || leaving_) return;
  leaving_ = true;
  caller_.frames().Goaway(NGHTTP2_NO_ERROR);
}

void H2cSession::Retire() {
  if (!running_ || closing_ || retired_) return;
  retired_ = true;
  if (!leaving_) caller_.frames().Goaway(NGHTTP2_NO_ERROR);
  OnWork();
}

void H2cSession::LoseApplication(RequestOutcome outcome, Http1Refusal why) {
  if (app_lost_) return;
  app_lost_ = true;
  if (exchanges_.empty()) NoteLoss(outcome, why);
  for (size_t at = exchanges_.size(); at > 0; at--) exchanges_[at - 1]->LoseApplication(outcome, why);
  app_.Stop();
  if (closing_) return;
  leaving_ = true;
  caller_.frames().Goaway(NGHTTP2_NO_ERROR);
}

void H2cSession::NoteLoss(RequestOutcome outcome, Http1Refusal why) {
  if (outcome == RequestOutcome::kBadResponse) {
    cause_ = CloseCause::kHttpRefused;
    detail_ = static_cast<int>(why);
  } else if (number_ == 0 && !app_.frames().goaway_received()) {
    cause_ = CloseCause::kResetByUpstream;
  }
}

void H2cSession::Refuse() {
  while (!exchanges_.empty()) exchanges_.back()->Stop(RequestOutcome::kCut);
  if (caller_.frames().violation().empty()) caller_.frames().Goaway(NGHTTP2_ENHANCE_YOUR_CALM);
  caller_.Farewell();
  Close(CloseCause::kHttpRefused, static_cast<int>(Http1Refusal::kHttp2));
}

void H2cSession::Close(CloseCause cause, int detail) {
  if (closing_) return;
  closing_ = true;
  cause_ = cause;
  detail_ = detail;
  head_due_.Cancel();
  caller_.Finish();
  services_.timers.Start(&deadline_, kLingerMs);
  OnWork();
}

void H2cSession::OnWork() {
  if (running_) services_.turn.Dirty(this);
}

void H2cSession::Flush() {
  if (!running_) return;
  if (has_app() && app_.Flush() != 0)
    LoseApplication(RequestOutcome::kResetByUpstream, Http1Refusal::kHeadEnd);
  // nghttp2 has found it wrong itself, and has said so.
  if (has_app() && !app_.frames().violation().empty())
    LoseApplication(RequestOutcome::kBadResponse, Http1Refusal::kHttp2);
  if (const int error = caller_.Flush(); error != 0) return End(CloseCause::kResetByDownstream, error);
  if (!closing_ && !caller_.frames().violation().empty()) return Refuse();
  services_.shares.Holds(this, 0, caller_.waiting() + app_.waiting());
  FinishIfDone();
}

void H2cSession::FinishIfDone() {
  if (closing_) {
    if (!caller_.waits_to_write() && caller_ended_) End(cause_, detail_);
    return;
  }
  if (!exchanges_.empty() || caller_.waits_to_write()) return;
  if (caller_ended_) return End(cause_, detail_);
  // A caller that has said GOAWAY asks nothing more, and nghttp2 answers nothing more.
  if (has_ended()) Close(cause_, detail_);
}

void H2cSession::OnHeadDue() {
  if (running_ && !closing_) Refuse();
}

void H2cSession::OnDeadline() {
  if (!running_) return;
  if (closing_) return End(cause_, detail_);
  caller_.frames().Ping();
  services_.timers.Start(&deadline_, kAskCallerMs);
}

}  // namespace orlop
