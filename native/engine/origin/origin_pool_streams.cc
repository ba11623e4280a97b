// 22 · data thread · which stream a request of HTTP/2 gets: of a session that has room, else of another that is opened for it.
#include "engine/origin/origin_pool.h"

namespace orlop {
namespace {

// Sessions of an origin, and sessions of this thread that are idle: each has tables of HPACK.
constexpr unsigned kSessionsPerOrigin = 100;
constexpr unsigned kIdleSessions = 1'000;
// Streams that a session takes that has not said how many.
constexpr unsigned kStreamsExpected = 100;

}  // namespace

void OriginPool::AwaitStream(uint32_t number, uint32_t pod_idx, StreamWaiter& waiter) {
  Origin* const origin = Find(number, pod_idx);
  if (!origin) return waiter.OnNoOriginSession(CloseCause::kNoSocket, 0, "no such origin");
  if (!MayAwait(*origin, waiter)) return waiter.OnNoOriginSession(CloseCause::kOverflow, 0, {});
  origin->waiting.PushBack(&waiter);
  ServeWaiting(*origin);
}

bool OriginPool::MayAwait(Origin& origin, StreamWaiter& waiter) {
  if (!origin.counts_waiting()) return true;
  if (origin.waiting.empty())
    for (OriginSession* at = origin.sessions.First(); at; at = origin.sessions.Next(at))
      if (at->HasRoom()) return true;
  const ConnectionCap cap = origin.cap();
  int32_t* const room = places_.TakeRoom(places_.CellOf(cap.key), cap.most_waiting);
  if (room) waiter.Takes(room);
  return room != nullptr;
}

StreamWaiter* OriginPool::PopWaiter(List<StreamWaiter, StreamWaiter>& waiting) {
  StreamWaiter* const first = waiting.First();
  if (first) first->StopWaiting();
  return first;
}

void OriginPool::ServeWaiting(Origin& origin) {
  OriginSession* session = origin.sessions.First();
  while (session && !origin.waiting.empty()) {
    if (!session->HasRoom()) {
      session = origin.sessions.Next(session);
      continue;
    }
    session->Carry();
    PopWaiter(origin.waiting)->OnOriginSession(session->frames());
  }
  if (origin.waiting.empty()) return;
  const unsigned most = origin.pool.most_requests;
  const unsigned expected = most > 0 && most < kStreamsExpected ? most : kStreamsExpected;
  unsigned sessions = 0, coming = 0;
  for (session = origin.sessions.First(); session; session = origin.sessions.Next(session)) {
    sessions++;
    if (session->is_coming()) coming += expected;
  }
  if (sessions < kSessionsPerOrigin && origin.waiting.CountUpTo(coming + 1) > coming) OpenSession(origin);
}

void OriginPool::OpenSession(Origin& origin) {
  auto* const session = new OriginSession(services_, *this, origin);
  origin.sessions.PushBack(session);
  sessions_.PushBack(session);
  OriginConnection* const connection = Fresh(origin, false);
  connection->Share();
  connection->Lend(*session);
  session->Open(*connection);
}

void OriginPool::FailWaiting(Origin& origin, CloseCause cause, int detail, std::string_view message) {
  if (!origin.sessions.empty()) return;
  List<StreamWaiter, StreamWaiter> failed;
  failed.TakeAll(&origin.waiting);
  while (StreamWaiter* waiter = PopWaiter(failed)) waiter->OnNoOriginSession(cause, detail, message);
}

OriginSession* OriginPool::Largest() const {
  OriginSession* largest = nullptr;
  for (OriginSession* at = sessions_.First(); at; at = sessions_.Next(at)) {
    if (at->buffered() > (largest ? largest->buffered() : 0)) largest = at;
  }
  return largest;
}

bool OriginPool::MayIdle(const OriginSession& session) const {
  return !draining_ && !IsWanted(*session.origin());
}

void OriginPool::KeepIdle(OriginSession& session) {
  if (session.Hook<IdleSessions>::linked()) return;
  if (idle_sessions_.CountUpTo(kIdleSessions) == kIdleSessions) idle_sessions_.First()->Retire();
  idle_sessions_.PushBack(&session);
}

}  // namespace orlop
