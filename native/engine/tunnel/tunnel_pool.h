// 10 · data thread · tunnels by (pod, peer, own identity, expected identities): reuse, dial one at a time, retire.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <unordered_map>

#include "engine/tunnel/tunnel_context.h"
#include "engine/tunnel/tunnel_group.h"
#include "engine/tunnel/tunnel_key.h"
#include "engine/tunnel/tunnel_waiter.h"

namespace orlop {

class TunnelPool {
 public:
  explicit TunnelPool(const TunnelContext& context) : context_(context) {}
  // Calls waiter->OnTunnelReady or OnTunnelFailed, now or later. A waiter that ends first takes itself out of its list.
  void Request(TunnelWaiter* waiter, const TunnelKey& key);
  void RetireIdentity(int32_t identity);
  void RetirePod(uint32_t pod_idx);
  void RetireAll();
  uint64_t dialled() const { return dialled_; }
  // How many groups there are.
  size_t groups() const { return groups_.size(); }

  // From groups.
  Tunnel* NewTunnel(TunnelGroup& group);
  // Uniform; for jitter.
  uint32_t Random() { return static_cast<uint32_t>(random_()); }
  // `key` may be the group's own.
  void Erase(TunnelKey key) { groups_.erase(key); }

 private:
  template <typename Matches>
  void Retire(Matches matches);
  const TunnelContext& context_;
  std::unordered_map<TunnelKey, std::unique_ptr<TunnelGroup>, TunnelKeyHash> groups_;
  uint64_t dialled_ = 0;
  std::mt19937 random_{std::random_device{}()};
};

}  // namespace orlop
