// 22 · data thread · which connection a request gets: the idle connection that was used last, else another.
#include "engine/origin/origin_pool.h"

#include <string>
#include <utility>
#include <vector>

#include "engine/core/answer.h"
#include "engine/core/arena.h"
#include "engine/relay/connection.h"

namespace orlop {
namespace {

// Idle connections of an origin, and of all origins of this thread.
constexpr size_t kIdlePerOrigin = 1'024;
constexpr size_t kIdle = 10'000;

}  // namespace

void OriginPool::Define(const Answer& answer) {
  const uint32_t number = answer.ref().index;
  if (number == 0) return;
  Drop(number);
  auto origin = std::make_unique<Origin>();
  origin->number = number;
  origin->pod_idx = answer.pod_idx();
  UpstreamRoute& route = origin->route;
  route.way = answer.way();
  route.to = answer.to();
  route.has_from = route.way == OriginWay::kDial && answer.From(&route.from);
  route.dials_in = route.way == OriginWay::kDial ? static_cast<uint32_t>(answer.status()) : answer.pod_idx();
  route.identity = answer.identity();
  route.expect = answer.expect();
  route.authority = answer.Text(0);
  route.baggage = answer.Text(1);
  route.forwarded = answer.Text(2);
  origin->pool = answer.pool();
  if (origin->capped()) capped_.PushBack(origin.get());
  origins_[number] = std::move(origin);
}

void OriginPool::Forget(Origin& origin) {
  mirrors_.Withdraw(origin.number);
  while (OriginConnection* connection = origin.idle.First()) connection->Close();
  while (OriginSession* session = origin.sessions.PopFront()) session->Orphan();
  while (StreamWaiter* waiter = PopWaiter(origin.waiting))
    waiter->OnNoOriginSession(CloseCause::kNoSocket, 0, "no such origin");
  while (OriginConnection* connection = origin.all.PopFront()) connection->Orphan();
}

void OriginPool::Drop(uint32_t number) {
  const auto found = origins_.find(number);
  if (found == origins_.end()) return;
  Forget(*found->second);
  origins_.erase(found);
}

void OriginPool::SetPod(uint32_t pod_idx, uint64_t netns_cookie) {
  const auto known = pods_.find(pod_idx);
  if (known != pods_.end() && known->second != netns_cookie) RemovePod(pod_idx, true);
  pods_[pod_idx] = netns_cookie;
}

void OriginPool::RemovePod(uint32_t pod_idx, bool forget) {
  CloseIdle([pod_idx](const Origin& origin) { return origin.pod_idx == pod_idx; });
  if (!forget) return;
  pods_.erase(pod_idx);
  for (auto at = origins_.begin(); at != origins_.end();) {
    if (at->second->pod_idx == pod_idx) {
      Forget(*at->second);
      at = origins_.erase(at);
    } else {
      ++at;
    }
  }
}

void OriginPool::RetireIdentity(int32_t identity) {
  const auto matches = [identity](const Origin& origin) {
    return origin.route.way == OriginWay::kTunnel && origin.route.identity == identity;
  };
  CloseIdle(matches);
  // The others end behind their requests.
  for (const auto& [number, origin] : origins_) {
    if (!matches(*origin)) continue;
    for (OriginConnection* at = origin->all.First(); at; at = origin->all.Next(at)) at->Outdate();
    for (OriginSession* at = origin->sessions.First(); at; at = origin->sessions.Next(at)) at->Retire();
  }
}

template <typename Matches>
void OriginPool::CloseIdle(Matches matches) {
  for (const auto& [number, origin] : origins_) {
    if (!matches(*origin)) continue;
    while (OriginConnection* connection = origin->idle.First()) connection->Close();
    for (OriginSession* at = origin->sessions.First(); at; at = origin->sessions.Next(at)) at->RetireIfIdle();
  }
}

void OriginPool::Drain() {
  draining_ = true;
  mirrors_.Stop();
  CloseIdle([](const Origin&) { return true; });
}

void OriginPool::Clear() {
  mirrors_.Stop();
  while (OriginSession* session = sessions_.First()) session->End();
  while (OriginConnection* connection = all_.First()) connection->End(false);
  look_.Cancel();
  Turn::Task::Remove();
  // What counts them ends with the engine.
  for (const auto& [number, origin] : origins_)
    while (PopWaiter(origin->waiting)) continue;
  origins_.clear();
}

Origin* OriginPool::Find(uint32_t number, uint32_t pod_idx) const {
  const auto found = origins_.find(number);
  return found == origins_.end() || found->second->pod_idx != pod_idx ? nullptr : found->second.get();
}

Connection* OriginPool::Dialled(const Origin& origin) {
  return new Connection(services_, upstreams_, origin.pod_idx, Endpoint{});
}

OriginConnection* OriginPool::Fresh(Origin& origin, bool may_be_used) {
  auto* const connection = new OriginConnection(services_, *this, origin, may_be_used);
  origin.all.PushBack(connection);
  all_.PushBack(connection);
  return connection;
}

OriginLink* OriginPool::Take(uint32_t number, uint32_t pod_idx, LinkUse use, OriginLink::User& user) {
  Origin* const found = Find(number, pod_idx);
  if (!found) return nullptr;
  Origin& origin = *found;
  OriginConnection* connection = use == LinkUse::kUnused ? nullptr : origin.idle.Last();
  if (connection && use == LinkUse::kTrusted &&
      services_.clock.now_ms() - connection->idle_since_ms() >= origin.trusted_ms())
    connection = nullptr;
  if (!connection) connection = Fresh(origin, use != LinkUse::kUnused);
  connection->Lend(user);
  return connection;
}

bool OriginPool::Keep(OriginConnection& connection) {
  Origin& origin = *connection.origin();
  if (draining_ || IsWanted(connection)) return false;
  // The longest idle goes: the others are the likelier to be there still.
  if (origin.idle_count >= kIdlePerOrigin) origin.idle.First()->Close();
  if (idle_count_ >= kIdle) idle_.First()->Close();
  origin.idle.PushBack(&connection);
  idle_.PushBack(&connection);
  origin.idle_count++;
  idle_count_++;
  // Somebody may wait for it.
  if (origin.capped() && FirstAwaiting(connection.place())) services_.turn.Again(this);
  return true;
}

void OriginPool::Left(const OriginConnection& connection) {
  connection.origin()->idle_count--;
  idle_count_--;
}

}  // namespace orlop
