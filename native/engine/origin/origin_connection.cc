// 22 · data thread · the life of a connection to an origin: opened, lent, idle, closed.
#include "engine/origin/origin_connection.h"

#include <cerrno>
#include <utility>

#include "engine/origin/origin.h"
#include "engine/origin/origin_pool.h"
#include "engine/relay/connection.h"

namespace orlop {
namespace {

// The far end of a stream has so long to end its half behind ours.
constexpr uint64_t kClosingMs = 5'000;
// For a place, where nothing says how long a connection may take to open.
constexpr uint64_t kPlaceMs = 10'000;

}  // namespace

OriginConnection::OriginConnection(const EngineServices& services, OriginPool& pool, Origin& origin,
                                   bool may_be_used)
    : services_(services),
      pool_(pool),
      origin_(&origin),
      may_be_used_(may_be_used),
      deadline_(
          services, [](void* self) { static_cast<OriginConnection*>(self)->OnDeadline(); }, this) {}

void OriginConnection::Lend(OriginLink::User& user) {
  LeaveIdle();
  handed_ = 0;
  user_ = &user;
}

void OriginConnection::Open() {
  if (phase_ == Phase::kNew) {
    if (!pool_.MayWait(*this)) return Finish(CloseCause::kOverflow);
    if (!origin_->capped()) return Dial();
    if (const ConnectionPlaces::Cell place = pool_.TakePlace(*this)) return OnPlace(place);
    phase_ = Phase::kAwaitsPlace;
    deadline_.Start(origin_->pool.connect_ms > 0 ? origin_->pool.connect_ms : kPlaceMs);
    return;
  }
  phase_ = Phase::kLent;
  user_->OnOriginOpen();
}

void OriginConnection::OnPlace(ConnectionPlaces::Cell place) {
  deadline_.Cancel();
  place_ = place;
  Dial();
}

void OriginConnection::Dial() {
  phase_ = Phase::kOpening;
  // Its own deadlines end it later.
  if (origin_->pool.connect_ms > 0) deadline_.Start(origin_->pool.connect_ms);
  connection_ = pool_.Dialled(*origin_);
  connection_->Open(*this, origin_->route);
}

void OriginConnection::Adopt(OriginConnection& idle) {
  idle.LeaveIdle();
  deadline_.Cancel();
  room_.Leave();
  connection_ = std::exchange(idle.connection_, nullptr);
  connection_->HandOver(*this);
  place_ = std::exchange(idle.place_, nullptr);
  used_ = true;
  carried_ = idle.carried_;
  handed_ = idle.handed_ + 1;
  idle_since_ms_ = idle.idle_since_ms_;
  idle.Finish(CloseCause::kFinished);
  phase_ = Phase::kLent;
  user_->OnOriginOpen();
}

void OriginConnection::Orphan() {
  origin_ = nullptr;
  if (phase_ == Phase::kAwaitsPlace) Finish(CloseCause::kNoSocket);
}

void OriginConnection::OnUpstream() {
  deadline_.Cancel();
  room_.Leave();
  phase_ = Phase::kLent;
  user_->OnOriginOpen();
}

ByteEnd& OriginConnection::end() {
  return connection_->upstream();
}

void OriginConnection::StartBytes(ByteEnd::User& user) {
  connection_->StartUpstream(user);
}

void OriginConnection::GiveBack() {
  used_ = true;
  user_ = nullptr;
  StartBytes(*this);
  phase_ = Phase::kIdle;
  carried_++;
  if (!origin_ || outdated_ || origin_->Wears(carried_) || !IsQuiet() || !pool_.Keep(*this)) return Close();
  idle_since_ms_ = services_.clock.now_ms();
  deadline_.Start(origin_->idle_ms());
}

void OriginConnection::WasStale() {
  if (origin_) origin_->Ended(services_.clock.now_ms() - idle_since_ms_);
}

void OriginConnection::End(bool in_order) {
  user_ = nullptr;
  if (!in_order || phase_ < Phase::kLent) return Finish(CloseCause::kClosedByAnswer);
  StartBytes(*this);
  phase_ = Phase::kIdle;
  Close();
}

void OriginConnection::LeaveIdle() {
  deadline_.Cancel();
  if (!Hook<IdleAtOrigin>::linked()) return;
  Hook<IdleAtOrigin>::Remove();
  Hook<IdleInPool>::Remove();
  pool_.Left(*this);
}

bool OriginConnection::IsQuiet() {
  if (end().failing()) return false;
  Pieces pieces;
  const int found = end().readable() ? end().Front(&pieces) : 0;
  // What it says is nobody's: it is dropped with the connection.
  if (found > 0) end().Drop(pieces.bytes);
  return found == 0 && !end().ended();
}

void OriginConnection::Look() {
  if (phase_ == Phase::kIdle && !IsQuiet()) {
    WasStale();
    return Close();
  }
  if (phase_ != Phase::kClosing) return;
  while (end().readable()) {
    Pieces pieces;
    const int found = end().Front(&pieces);
    if (found < 0) return Finish(CloseCause::kResetByUpstream);
    if (found == 0) break;
    end().Drop(pieces.bytes);
  }
  if (end().ended()) Finish(CloseCause::kFinished);
}

ssize_t OriginConnection::OnPull(ByteEnd&, const Pieces&, bool*) {
  return phase_ == Phase::kClosing ? 0 : -EAGAIN;
}

void OriginConnection::Close() {
  if (phase_ != Phase::kIdle) return;
  LeaveIdle();
  // What a socket has taken is delivered by the kernel; a stream that is ended is a reset to the application behind it.
  if (!end().pulls()) return Finish(end().failing() ? CloseCause::kResetByUpstream : CloseCause::kFinished);
  phase_ = Phase::kClosing;
  deadline_.Start(kClosingMs);
  end().ShutWrite();
  // Its half may have ended before.
  if (end().ended() && end().shut()) Finish(CloseCause::kFinished);
}

void OriginConnection::OnDeadline() {
  if (phase_ == Phase::kIdle) return Close();
  if (phase_ == Phase::kAwaitsPlace) return Finish(CloseCause::kOverflow);
  Finish(phase_ == Phase::kOpening ? CloseCause::kConnectTimeout : CloseCause::kClosedByAnswer);
}

void OriginConnection::Finish(CloseCause cause) {
  if (phase_ == Phase::kEnded) return;
  connection_ ? connection_->Finish(cause) : OnUpstreamEnded(cause, 0, {});
}

void OriginConnection::OnUpstreamEnded(CloseCause cause, int detail, std::string_view message) {
  const bool opening = phase_ < Phase::kLent;
  phase_ = Phase::kEnded;
  LeaveIdle();
  Hook<OfOrigin>::Remove();
  Hook<InPool>::Remove();
  pool_.LeavePlace(*this);
  room_.Leave();
  place_ = awaited_ = nullptr;
  services_.turn.Bury(this);
  OriginLink::User* const user = std::exchange(user_, nullptr);
  if (user) opening ? user->OnOriginFailed(cause, detail, message) : user->OnOriginLost();
}

}  // namespace orlop
