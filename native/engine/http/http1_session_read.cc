// 16 · data thread · a connection that is read: bytes from its ends to the exchange, as many as a turn's share allows.
#include <algorithm>
#include <cerrno>

#include "engine/http/http1_session.h"
#include "engine/http/http1_start.h"

namespace orlop {
namespace {

// Reads of one side in a turn, then others have their chance.
constexpr int kReadsPerTurn = 4;
// Bytes that wait for an end that is slower than the other.
constexpr size_t kMostWaiting = 64 * 1024;
// Bytes that are read of a side whose turn it is not: an end behind them shows.
constexpr size_t kReadAhead = 8 * 1024;

}  // namespace

void Http1Session::Pump() {
  if (!running_ || pumping_) return;
  pumping_ = true;
  // What a side says may let the other go on, and never itself.
  // The application first: what it says behind a response answers no later request.
  bool moved = true;
  for (int round = 0; moved && running_ && round < kReadsPerTurn; round++) {
    const bool up_moved = Advance(up_);
    moved = running_ && (up_moved || round == 0) && Advance(down_);
  }
  if (running_ && route_) SettleLink();
  if (running_ && finishes_) DiscardRest();
  if (running_ && phase_ == Phase::kOpaque) PassHeld();
  if (running_) {
    if (up_.Flush() != 0) OnUpFailed();
  }
  if (running_) {
    const int error = down_.Flush();
    if (error != 0) End(CloseCause::kResetByDownstream, error);
  }
  if (cut_ && down_.waiting() == 0) End(cause_of_up(), ECONNRESET);
  if (running_) FinishIfDone();
  pumping_ = false;
  CountHeld();
  // What was read before there was room, or before it was its turn, is announced by nothing else.
  const bool readable = running_ && (((finishes_ || ReadsAhead(down_)) && down_.end->readable()) ||
                                     (ReadsAhead(up_) && up_.end->readable()));
  if (running_ && (moved || readable)) services_.turn.Again(this);
  if (running_ && phase_ == Phase::kHttp2) return HandOver();
  if (running_) PassIfFlushed();
}

ssize_t Http1Session::OnPull(ByteEnd& end, const Pieces& into, bool* more) {
  if (!running_) return -EAGAIN;
  Http1Side& side = &end == up_.end ? up_ : down_;
  const bool was_full = IsFull(side);
  const ssize_t got = side.Pull(into, more);
  if (got <= 0) return got;
  CountHeld();
  // Nothing else announces that there is room again, or that the last byte has gone. Behind an ordinary answer nothing waits for that, and
  // a turn would find nothing to do.
  const bool has_room = was_full && !IsFull(side);
  if (has_room || phase_ >= Phase::kClosing || cut_) services_.turn.Again(this);
  return got;
}

void Http1Session::DiscardRest() {
  for (int reads = 0; reads < kReadsPerTurn; reads++) {
    Pieces pieces;
    const int found = down_.end->Front(&pieces);
    if (found < 0) return End(CloseCause::kResetByDownstream, -found);
    if (found == 0) return;
    discarded_ += pieces.bytes;
    down_.end->Drop(pieces.bytes);
    if (discarded_ > kHttp1LingerBytes) return End(CloseCause::kFinished);
  }
}

bool Http1Session::MayUse(const Http1Side& side) const {
  const Http1Side& other = &side == &down_ ? up_ : down_;
  if (&side == &up_ && phase_ == Phase::kClosing) return false;
  if (asks_about_try() || cut_) return false;
  return running_ && phase_ < Phase::kOpaque && !finishes_ && !IsFull(other);
}

bool Http1Session::IsFull(const Http1Side& side) {
  return side.waiting() >= kMostWaiting;
}

bool Http1Session::ReadsAhead(const Http1Side& side) const {
  return MayUse(side) && (side.waits || side.held.size() < kReadAhead);
}

bool Http1Session::Advance(Http1Side& side) {
  // Without more bytes, nothing can be used that could not be before.
  bool moved = (!side.waits || side.end->ended()) && UseHeld(side);
  for (int reads = 0; reads < kReadsPerTurn && ReadsAhead(side); reads++) {
    Pieces pieces;
    const int found = side.end->Front(&pieces);
    if (found < 0) {
      if (is_origin(side)) {
        LoseOrigin();
        return running_;
      }
      if (&side == &down_) {
        End(CloseCause::kResetByDownstream, -found);
      } else {
        LoseApplication(-found);
      }
      return false;
    }
    if (found == 0) {
      // An end that was seen just now. Of an application that was reset it is none: what goes until the end would look whole.
      if (side.end->ended() && &side == &up_ && failing_) {
        if (route_) {
          LoseOrigin();
          return running_;
        }
        LoseApplication(ECONNRESET);
        return false;
      }
      if (side.end->ended()) moved |= UseHeld(side);
      break;
    }
    size_t taken = 0;
    for (int i = 0; i < pieces.count; i++) {
      const iovec& piece = pieces.list[i];
      const size_t now = Take(side, static_cast<const uint8_t*>(piece.iov_base), piece.iov_len);
      if (!running_) return false;
      taken += now;
      if (now < piece.iov_len) break;
    }
    side.end->Drop(taken);
    if (taken == 0) break;
    moved = true;
  }
  // A caller that has said all and waits ends its half: the application may care, as it would without us.
  if (&side == &down_ && phase_ == Phase::kOpen && request_done_ && side.held.empty() && side.end->ended() &&
      !(route_ ? route_->caller_ended : up_.finished())) {
    // An origin has other callers, too: it does not hear of it.
    route_ ? static_cast<void>(route_->caller_ended = true) : up_.Finish();
    services_.timers.Start(&ask_caller_, kHttp1AskCallerMs);
  }
  return moved;
}

size_t Http1Session::Take(Http1Side& side, const uint8_t* bytes, size_t length) {
  size_t at = 0;
  while (at < length && MayUse(side)) {
    if (side.held.empty()) at += Use(side, bytes + at, length - at, false);
    if (!MayUse(side)) break;
    // The rest is too little to go on, or too early: it waits where more can be put behind it. Little at a time, since most of what
    // follows can be used where it lies.
    const size_t room = side.waits                      ? kHttp1BodyUnused
                        : side.held.size() < kReadAhead ? kReadAhead - side.held.size()
                                                        : 0;
    const size_t added = std::min(length - at, room);
    if (added == 0) break;
    side.held.append(reinterpret_cast<const char*>(bytes + at), added);
    at += added;
    UseHeld(side);
  }
  return at;
}

bool Http1Session::UseHeld(Http1Side& side) {
  if (!MayUse(side)) return false;
  const auto* const bytes = reinterpret_cast<const uint8_t*>(side.held.data());
  const bool ended = side.end->ended() && !(&side == &up_ && failing_);
  if (side.held.empty() && !ended && !exchange_.needs_no_bytes(&side == &down_)) return false;
  const size_t used = Use(side, bytes, side.held.size(), ended);
  if (!running_) return false;
  if (used == 0) return false;
  side.held.erase(0, used);
  // No memory is kept for what may never come: a connection may be idle for long.
  if (side.held.empty()) side.ForgetHeld();
  return true;
}

size_t Http1Session::Use(Http1Side& side, const uint8_t* bytes, size_t length, bool ended) {
  const bool from_client = &side == &down_;
  size_t used = 0;
  while (MayUse(side)) {
    const uint8_t* const rest = bytes + used;
    const size_t left = length - used;
    if (IsOther(side, rest, left)) break;
    Http1Head head;
    Http1TrailerSection trailers;
    const Http1Step step = from_client ? exchange_.FromClient(rest, left, ended, &head, &trailers)
                                       : exchange_.FromServer(rest, left, ended, &head, &trailers);
    used += step.used;
    side.waits = step.what == Http1Do::kWait;
    if (side.waits) OnWait(side, rest, left);
    if (side.waits || step.what == Http1Do::kHold || !Do(side, step, rest, head, trailers)) break;
  }
  return used;
}

bool Http1Session::IsOther(const Http1Side& side, const uint8_t* bytes, size_t length) {
  // An application of HTTP/2 need not wait for its caller. None of it leaves before that has spoken.
  if (&side == &up_ && length > 0 && number_ <= 1 && status_ == 0 && !route_ &&
      IsHttp2Settings(bytes, length)) {
    // It is the caller's turn.
    up_.waits = false;
    if (phase_ == Phase::kOpen) OnHttp2Application();
    return true;
  }
  if (length == 0 || phase_ > Phase::kHead) return false;
  if (&side == &up_) {
    // Later on, what nobody asked for ends the connection in order.
    if (number_ > 0 && reading_ != HttpReading::kOrPass) return false;
  } else {
    if (number_ > 0) return false;
    const Http1Start start = Http1StartOf(bytes, length);
    if (start != Http1Start::kHttp2 && start != Http1Start::kOther) return false;
    if (start == Http1Start::kHttp2) {
      phase_ = Phase::kHttp2;
      return true;
    }
  }
  reading_ == HttpReading::kOrPass ? Pass() : End(CloseCause::kNotHttp);
  return true;
}

}  // namespace orlop
