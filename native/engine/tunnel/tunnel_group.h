// 10 · data thread · all tunnels of one key, and the connections that wait for the next of them.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "engine/core/list.h"
#include "engine/tunnel/tunnel_key.h"
#include "engine/tunnel/tunnel_owner.h"
#include "engine/tunnel/tunnel_waiter.h"

namespace orlop {

class TunnelPool;

class TunnelGroup final : public TunnelOwner {
 public:
  TunnelGroup(TunnelPool& pool, const TunnelKey& key) : key(key), pool_(pool) {}
  const TunnelKey key;

  // Calls waiter->OnTunnelReady or OnTunnelFailed, now or later.
  void Request(TunnelWaiter* waiter);
  const std::vector<Tunnel*>& open() const { return open_; }

  // TunnelOwner.
  void OnTunnelOpen(Tunnel& tunnel) override;
  void OnTunnelRoom(Tunnel&) override { ServeWaiting(); }
  void OnTunnelRetired(Tunnel& tunnel) override;
  void OnTunnelEnded(Tunnel& tunnel, CloseCause cause, int detail, std::string_view message) override;

 private:
  // Null: dial another.
  Tunnel* Choose() const;
  Tunnel* WithRoom(bool beside_heavy) const;
  void Dial();
  void ServeWaiting();
  TunnelPool& pool_;
  std::vector<Tunnel*> open_;
  Tunnel* dialling_ = nullptr;
  List<TunnelWaiter, TunnelWaiter> waiting_;
};

}  // namespace orlop
