// 10 · data thread · tunnels by (pod, peer, own identity, expected identities): reuse, dial one at a time,
// retire.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/core/endpoint.h"
#include "engine/core/events.h"

namespace orlop {

class Connection;
class Engine;
class Tunnel;

struct TunnelKey {
  uint32_t pod_idx;
  Endpoint to;
  int32_t identity;
  int32_t expect;
  bool operator==(const TunnelKey& other) const {
    return pod_idx == other.pod_idx && to == other.to && identity == other.identity && expect == other.expect;
  }
};
struct TunnelKeyHash {
  size_t operator()(const TunnelKey& key) const;
};

// All tunnels of one key, and the connections that wait for the next.
class TunnelGroup {
 public:
  explicit TunnelGroup(const TunnelKey& key) : key(key) {}
  const TunnelKey key;
  std::vector<Tunnel*> open;
  Tunnel* dialling = nullptr;
  Connection* first_waiting = nullptr;
  Connection* last_waiting = nullptr;
};

class TunnelPool {
 public:
  explicit TunnelPool(Engine& engine) : engine_(engine) {}
  // connection->OnTunnelReady or OnTunnelFailed, now or later.
  void Request(Connection* connection);
  void Cancel(Connection* connection);
  void RetireIdentity(int32_t identity);
  void RetirePod(uint32_t pod_idx);
  void RetireAll();
  uint64_t dialled() const { return dialled_; }

  // --- from tunnels ---------------------------------------------------------------------------
  void OnOpen(Tunnel* tunnel, TunnelGroup* group);
  void OnRoom(TunnelGroup* group);
  void OnEnded(Tunnel* tunnel, TunnelGroup* group, CloseCause cause, int detail, std::string_view message);
  void Leave(Tunnel* tunnel, TunnelGroup* group);

 private:
  void Dial(TunnelGroup* group);
  void EraseIfEmpty(TunnelGroup* group);
  template <typename Matches>
  void Retire(Matches matches);
  Engine& engine_;
  std::unordered_map<TunnelKey, std::unique_ptr<TunnelGroup>, TunnelKeyHash> groups_;
  uint64_t dialled_ = 0;
};

}  // namespace orlop
