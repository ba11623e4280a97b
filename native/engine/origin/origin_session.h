// 22 · data thread · a connection of HTTP/2 to an origin: streams of many requests of the same pod.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/core/byte_end.h"
#include "engine/core/events.h"
#include "engine/core/list.h"
#include "engine/core/pod_share.h"
#include "engine/core/services.h"
#include "engine/core/timer.h"
#include "engine/core/turn.h"
#include "engine/h2c/h2c_side.h"
#include "engine/http/origin_link.h"

namespace orlop {

class OriginPool;
struct Origin;
// Its lists.
struct SessionOfOrigin;
struct SessionOfPool;
struct IdleSessions;

// Requests ask for their streams themselves (H2cHalf). It has the connection until that ends, and no request of HTTP/1 ever gets it.
class OriginSession final : public OriginLink::User,
                            public ByteEnd::User,
                            public H2cSide::User,
                            public PodShare,
                            public Turn::Task,
                            public Turn::Flushable,
                            public Turn::Mortal,
                            public Hook<SessionOfOrigin>,
                            public Hook<SessionOfPool>,
                            public Hook<IdleSessions> {
 public:
  OriginSession(const EngineServices& services, OriginPool& pool, Origin& origin);

  // `link` has carried nothing. The pool hears how it goes, maybe in this call.
  void Open(OriginLink& link);
  // Another stream may begin.
  bool HasRoom() const;
  // It may yet take waiters that it has no room for now: its far end has not said how many.
  bool is_coming() const { return phase_ == Phase::kOpening || (phase_ == Phase::kOpen && !frames_known()); }
  H2Session& frames() { return side_.frames(); }
  // A request begins its stream next: it may be the last that the session carries.
  void Carry();
  // No further stream begins. It ends when its last has.
  void Retire();
  bool idle() const { return Hook<IdleSessions>::linked(); }
  void RetireIfIdle() {
    if (Hook<IdleSessions>::linked()) Retire();
  }
  // Its origin is no more.
  void Orphan();
  // At once. Its streams are lost.
  void End() { Lose(CloseCause::kClosedByAnswer, 0, {}); }

  // Null: it is no more.
  const Origin* origin() const { return origin_; }
  // Bytes that wait for its far end.
  size_t buffered() const { return side_.waiting(); }

  // OriginLink::User.
  void OnOriginOpen() override;
  void OnOriginFailed(CloseCause cause, int detail, std::string_view message) override;
  void OnOriginLost() override;
  // ByteEnd::User.
  void OnReady(ByteEnd& end) override {
    if (end.failing() || services_.shares.MayRead(this)) Pump();
  }
  void OnArrived(ByteEnd&) override { Pump(); }
  void OnReset(ByteEnd& end, int code) override;
  ssize_t OnPull(ByteEnd& end, const Pieces& into, bool* more) override;
  // Turn::Task, Turn::Flushable.
  void OnAgain() override {
    if (services_.shares.MayRead(this)) Pump();
  }
  void Flush() override;
  // H2cSide::User.
  H2Stream* OnRequest() override { return nullptr; }
  void OnGoaway(H2cSide&) override { OnWork(); }
  void OnWork() override;
  void OnMayReadSide() override { services_.turn.Again(this); }
  // PodShare.
  void OnShed(CloseCause cause) override { Lose(cause, 0, {}); }
  void OnMayRead() override { Pump(); }
  void OnMayGo() override {}

 private:
  enum class Phase : uint8_t { kNew, kOpening, kOpen, kClosing, kEnded };

  bool frames_known() const { return const_cast<H2cSide&>(side_).frames().settings_received(); }
  void Pump();
  // Streams came or went: idle, or done, or there is room for who waits.
  void Settle();
  // The connection has gone, or its far end speaks no HTTP/2.
  void Lose(CloseCause cause, int detail, std::string_view message);
  // Its last stream has ended, and it gets no other: GOAWAY, our end, and the time that its far end needs for its own.
  void Close();
  // Gets no further streams.
  void LeaveOrigin();
  // The same, and out of all lists; deleted with the turn.
  void Leave();
  void OnDeadline();

  const EngineServices& services_;
  OriginPool& pool_;
  Origin* origin_;
  OriginLink* link_ = nullptr;
  H2cSide side_;
  Phase phase_ = Phase::kNew;
  bool pumping_ = false;
  bool retired_ = false;
  uint32_t carried_ = 0;
  Timer deadline_;  // of its SETTINGS, of being idle, or of its far end's end
};

}  // namespace orlop
