// 22 · data thread · connections to origins of which so many may be open over all threads: who has a place, who waits, and what is given up for them.
#include <vector>

#include "engine/origin/origin_pool.h"

namespace orlop {
namespace {

// Other threads are not woken: who waits looks so often whether they have given up a place, and who has a place whether they wait for it.
constexpr uint64_t kWaitingLookMs = 2;
constexpr uint64_t kPlacedLookMs = 16;
// A connection goes on to so many that wait here, one behind the other, while other threads wait for its place.
constexpr uint32_t kMostHanded = 16;

}  // namespace

bool OriginPool::MayWait(OriginConnection& connection) {
  const Origin& origin = *connection.origin();
  // Of a connection that many share each is counted for itself.
  if (!origin.counts_waiting() || connection.is_shared()) return true;
  const ConnectionCap cap = origin.cap();
  int32_t* const room = places_.TakeRoom(places_.CellOf(cap.key), cap.most_waiting);
  if (room) connection.room().Holds(room);
  return room != nullptr;
}

ConnectionPlaces::Cell OriginPool::TakePlace(OriginConnection& connection) {
  const ConnectionCap cap = connection.origin()->cap();
  const ConnectionPlaces::Cell cell = places_.CellOf(cap.key);
  // Who has waited is first.
  if (!FirstAwaiting(cell) && places_.Take(cell, cap.most)) {
    placed_++;
    LookLater();
    return cell;
  }
  places_.Await(cell);
  connection.Awaits(cell);
  awaiting_[cell].PushBack(&connection);
  // What is idle here may make room.
  services_.turn.Again(this);
  LookLater();
  return nullptr;
}

OriginConnection* OriginPool::FirstAwaiting(ConnectionPlaces::Cell cell) const {
  const auto found = awaiting_.find(cell);
  return found == awaiting_.end() ? nullptr : found->second.First();
}

void OriginPool::StopAwaiting(OriginConnection& connection) {
  places_.AwaitNoMore(connection.awaited());
  connection.Awaits(nullptr);
  connection.Hook<AwaitsPlace>::Remove();
}

void OriginPool::LeavePlace(OriginConnection& connection) {
  if (connection.awaited()) StopAwaiting(connection);
  if (!connection.place()) return;
  places_.Release(connection.place());
  placed_--;
  if (!awaiting_.empty()) services_.turn.Again(this);
}

bool OriginPool::IsWanted(const OriginConnection& connection) const {
  const ConnectionPlaces::Cell cell = connection.place();
  if (!cell || places_.AwaitedElsewhere(cell) == 0) return false;
  // Who waits here for the same has it first, up to a bound.
  const OriginConnection* const first = FirstAwaiting(cell);
  return !first || first->origin() != connection.origin() || !first->may_be_used() ||
         connection.handed() >= kMostHanded;
}

bool OriginPool::IsWanted(const Origin& origin) const {
  if (!origin.capped()) return false;
  for (OriginConnection* at = origin.all.First(); at; at = origin.all.Next(at))
    if (at->place()) return places_.AwaitedElsewhere(at->place()) > 0;
  return false;
}

void OriginPool::ServePlaces() {
  // Who is served may end others that wait, and others may begin to.
  std::vector<ConnectionPlaces::Cell> cells;
  for (const auto& [cell, waiting] : awaiting_) cells.push_back(cell);
  for (const ConnectionPlaces::Cell cell : cells) {
    while (ServePlace(cell)) continue;
    const auto found = awaiting_.find(cell);
    if (found != awaiting_.end() && found->second.empty()) awaiting_.erase(found);
  }
}

bool OriginPool::ServePlace(ConnectionPlaces::Cell cell) {
  OriginConnection* const first = FirstAwaiting(cell);
  if (!first) return false;
  Origin& origin = *first->origin();
  OriginConnection* const idle = first->may_be_used() ? origin.idle.Last() : nullptr;
  if (!idle && !places_.Take(cell, origin.pool.most_open)) {
    // A connection that is idle, and that it may not have, makes room; its place comes with its end.
    for (Origin* at = HasIdle() ? capped_.First() : nullptr; at; at = capped_.Next(at))
      if (at->pool.key == origin.pool.key && GiveUpIdle(*at)) break;
    return false;
  }
  StopAwaiting(*first);
  if (idle) {
    first->Adopt(*idle);
  } else {
    placed_++;
    first->OnPlace(cell);
  }
  return true;
}

bool OriginPool::GiveUpIdle(Origin& origin) {
  if (OriginConnection* const idle = origin.idle.First()) {
    idle->Close();
    return true;
  }
  for (OriginSession* at = origin.sessions.First(); at; at = origin.sessions.Next(at)) {
    if (!at->idle()) continue;
    at->RetireIfIdle();
    return true;
  }
  return false;
}

void OriginPool::Look() {
  const uint64_t now = services_.clock.now_ms();
  // Of many origins, however often who waits has it look.
  if (HasIdle() && now >= gives_up_ms_) {
    gives_up_ms_ = now + kPlacedLookMs;
    for (Origin* origin = capped_.First(); origin; origin = capped_.Next(origin))
      if (IsWanted(*origin)) GiveUpIdle(*origin);
  }
  ServePlaces();
  LookLater();
}

void OriginPool::LookLater() {
  if (awaiting_.empty() && placed_ == 0) return look_.Cancel();
  const bool soon = !awaiting_.empty();
  // Who comes puts nothing off.
  if (look_.armed() && looks_soon_ >= soon) return;
  looks_soon_ = soon;
  services_.pauses.Start(&look_, soon ? kWaitingLookMs : kPlacedLookMs);
}

}  // namespace orlop
