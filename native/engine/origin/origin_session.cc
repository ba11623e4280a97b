// 22 · data thread · the life of a connection of HTTP/2 to an origin: opened, shared, idle, closed.
#include "engine/origin/origin_session.h"

#include <cerrno>
#include <utility>

#include "engine/origin/origin.h"
#include "engine/origin/origin_pool.h"

namespace orlop {
namespace {

// From the open connection to the far end's SETTINGS.
constexpr uint64_t kSettingsMs = 5'000;
// The far end has so long to end its half behind our GOAWAY.
constexpr uint64_t kClosingMs = 5'000;

}  // namespace

OriginSession::OriginSession(const EngineServices& services, OriginPool& pool, Origin& origin)
    : services_(services),
      pool_(pool),
      origin_(&origin),
      side_(services, *this),
      deadline_([](void* self) { static_cast<OriginSession*>(self)->OnDeadline(); }, this) {}

void OriginSession::Open(OriginLink& link) {
  services_.shares.Carry(this, origin_->pod_idx);
  link_ = &link;
  phase_ = Phase::kOpening;
  link.Open();
}

bool OriginSession::HasRoom() const {
  if (phase_ != Phase::kOpen || retired_ || side_.mute()) return false;
  const H2Session& frames = const_cast<H2cSide&>(side_).frames();
  return frames.streams() < frames.Limit() && !frames.crowded();
}

void OriginSession::Carry() {
  carried_++;
  if (origin_->Wears(carried_)) Retire();
}

void OriginSession::OnOriginOpen() {
  phase_ = Phase::kOpen;
  if (!side_.Open(Role::kClient, link_->end(), {})) return Lose(CloseCause::kShed, 0, {});
  services_.timers.Start(&deadline_, kSettingsMs);
  link_->StartBytes(*this);
  OnWork();
  Settle();
  Pump();
}

void OriginSession::OnOriginFailed(CloseCause cause, int detail, std::string_view message) {
  link_ = nullptr;
  Lose(cause, detail, message);
}

void OriginSession::OnOriginLost() {
  link_ = nullptr;
  Lose(CloseCause::kResetByUpstream, 0, {});
}

// What it has said before is read first.
void OriginSession::OnReset(ByteEnd&, int code) {
  if (phase_ != Phase::kOpen) return Lose(CloseCause::kResetByUpstream, code, {});
  side_.NoteReset(code);
  Pump();
}

ssize_t OriginSession::OnPull(ByteEnd&, const Pieces& into, bool* more) {
  return phase_ == Phase::kOpen || phase_ == Phase::kClosing ? side_.Pull(into, more) : -EAGAIN;
}

void OriginSession::Pump() {
  if (phase_ == Phase::kClosing && !side_.Discard()) return Lose(CloseCause::kFinished, 0, {});
  if (phase_ != Phase::kOpen || pumping_) return;
  pumping_ = true;
  const H2cSide::Got got = side_.Receive();
  pumping_ = false;
  services_.shares.Spend(this, side_.TakeWork());
  // What it has said may have ended it.
  if (phase_ != Phase::kOpen) return;
  switch (got) {
    case H2cSide::Got::kNothing:
      break;
    case H2cSide::Got::kMore:
      services_.turn.Again(this);
      break;
    case H2cSide::Got::kBroken:
      return Lose(CloseCause::kH2Failed, 0, "no HTTP/2");
    case H2cSide::Got::kFailed:
      return Lose(CloseCause::kResetByUpstream, side_.error(), {});
    case H2cSide::Got::kEnded:
      return Lose(side_.is_other() ? CloseCause::kH2Failed : CloseCause::kResetByUpstream, 0, {});
  }
  if (side_.abuses()) return Lose(CloseCause::kH2Failed, 0, "flood");
  OnWork();
}

void OriginSession::OnWork() {
  if (phase_ == Phase::kOpen || phase_ == Phase::kClosing) services_.turn.Dirty(this);
}

void OriginSession::Flush() {
  if (phase_ == Phase::kOpen) Settle();
  if (phase_ != Phase::kOpen && phase_ != Phase::kClosing) return;
  if (const int error = side_.Flush(); error != 0) return Lose(CloseCause::kResetByUpstream, error, {});
  if (phase_ == Phase::kOpen && !frames().violation().empty())
    return Lose(CloseCause::kH2Failed, 0, frames().violation());
  services_.shares.Holds(this, 0, buffered());
}

void OriginSession::Settle() {
  H2Session& session = frames();
  if (session.TakeNewSettings()) {
    session.RefuseUnsent();
    if (session.AllowsNone()) return Lose(CloseCause::kH2Failed, 0, "no streams are allowed");
  }
  if (origin_) pool_.ServeWaiting(*origin_);
  if (phase_ != Phase::kOpen || !frames_known()) return;
  if (session.streams() > 0) {
    Hook<IdleSessions>::Remove();
    deadline_.Cancel();
    return;
  }
  const bool takes_more =
      origin_ && !retired_ && !session.goaway_received() && session.Limit() > 0 && !session.crowded();
  if (!takes_more || !pool_.MayIdle(*this)) return Close();
  if (!deadline_.armed() || !Hook<IdleSessions>::linked())
    services_.timers.Start(&deadline_, origin_->idle_ms());
  pool_.KeepIdle(*this);
}

void OriginSession::Retire() {
  retired_ = true;
  OnWork();
}

void OriginSession::Orphan() {
  origin_ = nullptr;
  if (phase_ == Phase::kOpening) return End();
  Retire();
}

void OriginSession::OnDeadline() {
  if (phase_ == Phase::kClosing) return End();
  if (phase_ != Phase::kOpen) return;
  frames_known() ? Close() : Lose(CloseCause::kConnectTimeout, 0, "no SETTINGS");
}

void OriginSession::Close() {
  phase_ = Phase::kClosing;
  LeaveOrigin();
  services_.timers.Start(&deadline_, kClosingMs);
  frames().Goaway(NGHTTP2_NO_ERROR);
  side_.Finish();
  if (Origin* const origin = std::exchange(origin_, nullptr)) pool_.ServeWaiting(*origin);
}

void OriginSession::LeaveOrigin() {
  deadline_.Cancel();
  Hook<SessionOfOrigin>::Remove();
  Hook<IdleSessions>::Remove();
}

void OriginSession::Leave() {
  phase_ = Phase::kEnded;
  LeaveOrigin();
  services_.shares.End(this);
  Turn::Task::Remove();
  Turn::Flushable::Remove();
  Hook<SessionOfPool>::Remove();
}

void OriginSession::Lose(CloseCause cause, int detail, std::string_view message) {
  if (phase_ == Phase::kEnded) return;
  // A far end that has never said how many streams it takes has failed those that wait for it, too.
  const bool failed = phase_ < Phase::kOpen || !frames_known() || frames().AllowsNone();
  Leave();
  frames().LoseStreams(cause, detail, message);
  side_.Stop();
  // In order where all that was said has been heard.
  if (OriginLink* const link = std::exchange(link_, nullptr)) link->End(cause == CloseCause::kFinished);
  services_.turn.Bury(this);
  if (!origin_) return;
  failed ? pool_.FailWaiting(*origin_, cause, detail, message) : pool_.ServeWaiting(*origin_);
}

}  // namespace orlop
