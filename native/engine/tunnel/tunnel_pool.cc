// 10 · data thread · the pool of tunnels that we dial.
#include "engine/tunnel/tunnel_pool.h"

#include <vector>

#include "engine/tunnel/tunnel.h"

namespace orlop {

void TunnelPool::Request(TunnelWaiter* waiter, const TunnelKey& key) {
  std::unique_ptr<TunnelGroup>& group = groups_[key];
  if (!group) group = std::make_unique<TunnelGroup>(*this, context_, key);
  group->Request(waiter);
}

Tunnel* TunnelPool::NewTunnel(TunnelGroup& group) {
  dialled_++;
  return new Tunnel(context_, Role::kClient, group, group.key.pod_idx, group.key.to, group.key.identity);
}

template <typename Matches>
void TunnelPool::Retire(Matches matches) {
  std::vector<Tunnel*> leaving;
  for (const auto& [key, group] : groups_) {
    if (!matches(key)) continue;
    leaving.insert(leaving.end(), group->open().begin(), group->open().end());
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
