// 14 · data thread · bytes between the two ends of a connection.
#include "engine/relay/relay.h"

#include <algorithm>
#include <cerrno>

namespace orlop {
namespace {

// Reads of one direction per turn: 512 KiB of a socket, then others have their chance.
constexpr int kReadsPerTurn = 4;
constexpr uint64_t kAfterErrorMs = 1'000;
// An end that takes nothing is noticed at a look, and has its whole time from then on.
constexpr uint8_t kLooks = 4;

// The end of what it said may be seen late, but nothing waits for that.
bool Waits(const ByteEnd& from) {
  return from.readable() && !from.ended();
}

}  // namespace

Relay::Relay(const EngineServices& services, User& user)
    : services_(services),
      user_(user),
      deadline_([](void* self) { static_cast<Relay*>(self)->OnDeadline(); }, this) {}

void Relay::Start(ByteEnd& down, ByteEnd& up) {
  down_ = &down;
  up_ = &up;
  running_ = true;
}

void Relay::Stop() {
  running_ = false;
  deadline_.Cancel();
  Turn::Task::Remove();
}

void Relay::End(const ByteEnd* broken, int error) {
  if (!running_) return;
  Stop();
  user_.OnRelayEnded(broken, error);
}

void Relay::LookLater() {
  const uint64_t all = services_.buffers.unread_ms();
  if (all > 0) services_.timers.Start(&deadline_, std::max<uint64_t>(all / kLooks, 1));
}

// Each direction for itself: an end that sends on without reading holds what is for it all the same.
bool Relay::Look(const ByteEnd& from, uint64_t passed, uint32_t* seen, uint8_t* still) {
  const auto now = static_cast<uint32_t>(passed);
  const bool moves = !Waits(from) || now != *seen;
  *seen = now;
  *still = moves ? 0 : static_cast<uint8_t>(*still + 1);
  return *still <= kLooks;
}

void Relay::OnDeadline() {
  if (failing_) return End(failing_, ECONNRESET);
  if (!running_) return;
  const bool sends = Look(*down_, sent_, &sent_seen_, &sent_still_);
  const bool receives = Look(*up_, received_, &received_seen_, &received_still_);
  if (!sends || !receives) {
    Stop();
    return user_.OnRelayUnread();
  }
  if (Waits(*down_) || Waits(*up_)) LookLater();
}

void Relay::OnReady(ByteEnd& end) {
  if (!running_) return;
  // Bytes before a reset are passed on, but a peer that takes nothing is not waited for.
  if (end.failing() && !failing_) {
    failing_ = &end;
    services_.timers.Start(&deadline_, kAfterErrorMs);
  }
  Pump();
}

void Relay::OnAgain() {
  if (running_ && pull_error_ != 0) return End(pull_broken_, pull_error_);
  Pump();
}

void Relay::Pump() {
  if (!running_) return;
  bool more = Carry(*down_, *up_, &sent_);
  if (running_) more |= Carry(*up_, *down_, &received_);
  FinishIfDone();
  if (more && running_) services_.turn.Again(this);
}

void Relay::OnArrived(ByteEnd& end) {
  if (!running_) return;
  const bool from_down = &end == down_;
  Carry(end, from_down ? *up_ : *down_, from_down ? &sent_ : &received_);
  FinishIfDone();
}

bool Relay::Carry(ByteEnd& from, ByteEnd& to, uint64_t* counter) {
  if (to.pulls()) {
    if (!from.readable()) return false;
    to.Wake();
    AwaitReader();
    return false;
  }
  for (int reads = 0; reads < kReadsPerTurn; reads++) {
    if (!to.writable()) {
      if (from.ended()) to.ShutWrite();
      if (Waits(from)) AwaitReader();
      return false;
    }
    Pieces pieces;
    const int found = from.Front(&pieces);
    if (found <= 0) {
      if (found < 0) End(&from, -found);
      if (found == 0 && from.ended()) to.ShutWrite();
      return false;
    }
    const ssize_t taken = to.Write(pieces);
    if (taken < 0) {
      End(&to, static_cast<int>(-taken));
      return false;
    }
    from.Drop(static_cast<size_t>(taken));
    *counter += static_cast<uint64_t>(taken);
    if (static_cast<size_t>(taken) < pieces.bytes) {
      AwaitReader();
      return false;
    }
  }
  return from.readable();
}

ssize_t Relay::OnPull(ByteEnd& end, const Pieces& into, bool* more) {
  if (!running_) return -EAGAIN;
  const bool to_up = &end == up_;
  ByteEnd& from = to_up ? *down_ : *up_;
  const ssize_t got = from.Read(into);
  if (got > 0) {
    (to_up ? sent_ : received_) += static_cast<uint64_t>(got);
    *more = from.readable();
  } else if (got < 0 && got != -EAGAIN) {
    pull_error_ = static_cast<int>(-got);
    pull_broken_ = &from;
    services_.turn.Again(this);
  }
  return got;
}

void Relay::FinishIfDone() {
  if (running_ && down_->shut() && up_->shut()) End(nullptr, 0);
}

}  // namespace orlop
