// 22 · data thread · a connection to an origin: opened for a request, kept for the next of the same pod.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/core/byte_end.h"
#include "engine/core/lazy_timer.h"
#include "engine/core/list.h"
#include "engine/core/services.h"
#include "engine/core/shared_count.h"
#include "engine/core/turn.h"
#include "engine/http/origin_link.h"
#include "engine/origin/connection_places.h"
#include "engine/relay/upstream_user.h"

namespace orlop {

class Connection;
class OriginPool;
struct Origin;
// Its lists.
struct OfOrigin;
struct IdleAtOrigin;
struct IdleInPool;
struct InPool;
struct AwaitsPlace;

class OriginConnection final : public OriginLink,
                               public UpstreamUser,
                               public Turn::Mortal,
                               public Hook<OfOrigin>,
                               public Hook<IdleAtOrigin>,
                               public Hook<IdleInPool>,
                               public Hook<InPool>,
                               public Hook<AwaitsPlace> {
 public:
  // `may_be_used`: its user takes a connection that has carried a request before.
  OriginConnection(const EngineServices& services, OriginPool& pool, Origin& origin, bool may_be_used);

  // The next request has it.
  void Lend(OriginLink::User& user);
  // Its origin is no more: it ends behind its request.
  void Orphan();
  // Of an origin whose connections are capped. The place is its own until it has ended.
  void OnPlace(ConnectionPlaces::Cell place);
  // `idle`, of the same origin, is its connection from here on.
  void Adopt(OriginConnection& idle);
  ConnectionPlaces::Cell place() const { return place_; }
  ConnectionPlaces::Cell awaited() const { return awaited_; }
  void Awaits(ConnectionPlaces::Cell cell) { awaited_ = cell; }
  // Of the request that waits for it, until it is open.
  SharedCount& room() { return room_; }
  bool may_be_used() const { return may_be_used_; }
  // Many requests have it at once, of HTTP/2: those wait by themselves.
  void Share() { is_shared_ = true; }
  bool is_shared() const { return is_shared_; }
  // How often it has gone on to who waited for it here, while other threads may have waited as well.
  uint32_t handed() const { return handed_; }
  // It is not kept behind its request, although its origin is.
  void Outdate() { outdated_ = true; }
  Origin* origin() const { return origin_; }
  bool idle() const { return phase_ == Phase::kIdle; }
  uint64_t idle_since_ms() const { return idle_since_ms_; }
  // Ends it with a FIN, in the time that its far end needs.
  void Close();

  // OriginLink.
  void Open() override;
  ByteEnd& end() override;
  void StartBytes(ByteEnd::User& user) override;
  bool used() const override { return used_; }
  void WasStale() override;
  void GiveBack() override;
  void End(bool in_order) override;

  // UpstreamUser: while no request has it.
  void OnUpstream() override;
  void OnUpstreamEnded(CloseCause cause, int detail, std::string_view message) override;
  void OnReady(ByteEnd&) override { Look(); }
  void OnReset(ByteEnd&, int) override { Finish(CloseCause::kResetByUpstream); }
  ssize_t OnPull(ByteEnd&, const Pieces&, bool*) override;

 private:
  enum class Phase : uint8_t { kNew, kAwaitsPlace, kOpening, kLent, kIdle, kClosing, kEnded };

  void Dial();
  // Whether its far end has ended it, or speaks although nobody has asked.
  bool IsQuiet();
  void Look();
  void LeaveIdle();
  void Finish(CloseCause cause);
  void OnDeadline();

  const EngineServices& services_;
  OriginPool& pool_;
  Origin* origin_;
  Connection* connection_ = nullptr;          // from when it is dialled on
  ConnectionPlaces::Cell place_ = nullptr;    // of a capped origin, while it counts
  ConnectionPlaces::Cell awaited_ = nullptr;  // while it waits
  SharedCount room_;                          // of the single request that waits, for a place or for the dial
  OriginLink::User* user_ = nullptr;
  Phase phase_ = Phase::kNew;
  const bool may_be_used_;
  bool is_shared_ = false;
  uint32_t handed_ = 0;
  bool used_ = false;
  uint32_t carried_ = 0;  // whole requests of HTTP/1
  bool outdated_ = false;
  uint64_t idle_since_ms_ = 0;
  LazyTimer deadline_;  // of its opening, of being idle, or of its far end's end
};

}  // namespace orlop
