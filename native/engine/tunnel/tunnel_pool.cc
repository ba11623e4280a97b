// 10 · data thread · the pool. Fullest tunnel first, so that those no longer needed fall idle and end; but
// not beside a stream that fills its tunnel.
#include "engine/tunnel/tunnel_pool.h"

#include <algorithm>
#include <cstring>

#include "engine/core/engine.h"
#include "engine/relay/connection.h"
#include "engine/tunnel/tunnel.h"

namespace orlop {
namespace {

// Tunnels of one key that heavy streams may cause; beyond, they share.
constexpr size_t kTunnelsForHeavy = 4;

Tunnel* WithRoom(const TunnelGroup& group, bool beside_heavy) {
  for (Tunnel* tunnel : group.open) {
    if ((beside_heavy || !tunnel->heavy()) && tunnel->h2().Room() > 0) return tunnel;
  }
  return nullptr;
}

Tunnel* Choose(const TunnelGroup& group) {
  Tunnel* light = WithRoom(group, false);
  if (light || group.open.size() < kTunnelsForHeavy) return light;
  return WithRoom(group, true);
}

}  // namespace

size_t TunnelKeyHash::operator()(const TunnelKey& key) const {
  uint64_t halves[2];
  memcpy(halves, key.to.addr.bytes, sizeof halves);
  uint64_t hash = halves[0] ^ (halves[1] * 0x9e3779b97f4a7c15ULL);
  hash ^= (static_cast<uint64_t>(key.pod_idx) << 32 | key.to.port) * 0xff51afd7ed558ccdULL;
  hash ^=
      (static_cast<uint64_t>(static_cast<uint32_t>(key.identity)) << 32 | static_cast<uint32_t>(key.expect)) *
      0xc4ceb9fe1a85ec53ULL;
  return hash ^ (hash >> 29);
}

void TunnelPool::Request(Connection* connection) {
  const ConnectText& text = *connection->text;
  const TunnelKey key{connection->pod_idx(), text.to, text.identity, text.expect};
  std::unique_ptr<TunnelGroup>& group = groups_[key];
  if (!group) group = std::make_unique<TunnelGroup>(key);
  if (Tunnel* tunnel = Choose(*group)) return connection->OnTunnelReady(tunnel);
  connection->next_waiting = nullptr;
  (group->last_waiting ? group->last_waiting->next_waiting : group->first_waiting) = connection;
  group->last_waiting = connection;
  if (!group->dialling) Dial(group.get());
}

void TunnelPool::Cancel(Connection* connection) {
  const ConnectText& text = *connection->text;
  const auto found = groups_.find({connection->pod_idx(), text.to, text.identity, text.expect});
  if (found == groups_.end()) return;
  TunnelGroup& group = *found->second;
  Connection* before = nullptr;
  for (Connection* at = group.first_waiting; at; before = at, at = at->next_waiting) {
    if (at != connection) continue;
    (before ? before->next_waiting : group.first_waiting) = connection->next_waiting;
    if (group.last_waiting == connection) group.last_waiting = before;
    return;
  }
}

void TunnelPool::Dial(TunnelGroup* group) {
  dialled_++;
  group->dialling =
      new Tunnel(engine_, Role::kClient, group->key.pod_idx, group->key.to, group->key.identity);
  group->dialling->Dial(group, group->key.expect);
}

void TunnelPool::OnOpen(Tunnel* tunnel, TunnelGroup* group) {
  group->dialling = nullptr;
  group->open.push_back(tunnel);
  OnRoom(group);
}

void TunnelPool::OnRoom(TunnelGroup* group) {
  while (group->first_waiting) {
    Tunnel* tunnel = Choose(*group);
    if (!tunnel) break;
    Connection* connection = group->first_waiting;
    group->first_waiting = connection->next_waiting;
    if (!group->first_waiting) group->last_waiting = nullptr;
    connection->OnTunnelReady(tunnel);
  }
  if (group->first_waiting && !group->dialling) Dial(group);
}

void TunnelPool::Leave(Tunnel* tunnel, TunnelGroup* group) {
  group->open.erase(std::remove(group->open.begin(), group->open.end(), tunnel), group->open.end());
  if (group->dialling == tunnel) group->dialling = nullptr;
  if (group->first_waiting && !group->dialling) return Dial(group);
  EraseIfEmpty(group);
}

void TunnelPool::OnEnded(Tunnel* tunnel, TunnelGroup* group, CloseCause cause, int detail,
                         std::string_view message) {
  if (group->dialling == tunnel) {
    // All who waited for this dial share its outcome, unless a tunnel stands that is merely a busy one; the
    // next request dials anew.
    group->dialling = nullptr;
    Connection* waiting = group->first_waiting;
    group->first_waiting = group->last_waiting = nullptr;
    while (waiting) {
      Connection* next = waiting->next_waiting;
      if (Tunnel* other = WithRoom(*group, true)) {
        waiting->OnTunnelReady(other);
      } else {
        waiting->OnTunnelFailed(cause, detail, message);
      }
      waiting = next;
    }
  }
  Leave(tunnel, group);
}

void TunnelPool::EraseIfEmpty(TunnelGroup* group) {
  if (group->open.empty() && !group->dialling && !group->first_waiting) groups_.erase(TunnelKey(group->key));
}

template <typename Matches>
void TunnelPool::Retire(Matches matches) {
  std::vector<Tunnel*> leaving;
  for (const auto& [key, group] : groups_) {
    if (!matches(key)) continue;
    leaving.insert(leaving.end(), group->open.begin(), group->open.end());
  }
  for (Tunnel* tunnel : leaving) tunnel->Retire();
}

void TunnelPool::RetireIdentity(int32_t identity) {
  Retire([identity](const TunnelKey& key) { return key.identity == identity; });
}

void TunnelPool::RetirePod(uint32_t pod_idx) {
  Retire([pod_idx](const TunnelKey& key) { return key.pod_idx == pod_idx; });
}

void TunnelPool::RetireAll() {
  Retire([](const TunnelKey&) { return true; });
}

}  // namespace orlop
