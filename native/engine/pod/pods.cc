// data thread · the pods of an engine: listeners, socket pools, the flow map; what removing one ends.
#include <fcntl.h>

#include <utility>

#include "engine/core/descriptor.h"
#include "engine/core/engine.h"
#include "engine/relay/connection.h"
#include "engine/tunnel/tunnel.h"

namespace orlop {

Pod* Engine::FindPod(uint32_t pod_idx) {
  const auto found = pods_.find(pod_idx);
  return found == pods_.end() ? nullptr : found->second.get();
}

SocketPool* Engine::FindPool(uint32_t pod_idx, SocketKind kind) {
  Pod* pod = FindPod(pod_idx);
  if (!pod) return nullptr;
  auto& pool = pod->pools[static_cast<uint32_t>(kind)];
  if (!pool) pool = std::make_unique<SocketPool>(*this, pod_idx, kind);
  return pool.get();
}

void Engine::SetPod(uint32_t pod_idx, uint64_t netns_cookie, int32_t identity) {
  auto& pod = pods_[pod_idx];
  if (!pod) pod = std::make_unique<Pod>();
  pod->netns_cookie = netns_cookie;
  pod->identity = identity;
}

bool Engine::AddListener(uint32_t pod_idx, ListenerKind kind, Descriptor fd) {
  auto acceptor = std::make_unique<Acceptor>(*this, pod_idx, kind, std::move(fd));
  Pod* pod = FindPod(pod_idx);
  if (!pod || draining_ || !acceptor->Open()) return false;
  pod->acceptors.push_back(std::move(acceptor));
  return true;
}

bool Engine::AddSocket(uint32_t pod_idx, SocketKind kind, Descriptor fd) {
  SocketPool* pool = FindPool(pod_idx, kind);
  if (!pool) return false;
  pool->Add(std::move(fd));
  if (!in_turn_) loop_.Again();
  return true;
}

void Engine::RemovePod(uint32_t pod_idx, bool cut) {
  const auto found = pods_.find(pod_idx);
  if (found != pods_.end()) {
    // An acceptor may be named by an event of this very turn.
    for (auto& acceptor : found->second->acceptors) dead_acceptors_.push_back(std::move(acceptor));
    pods_.erase(found);
  }
  tunnels_.RetirePod(pod_idx);
  // Peers keep tunnels for minutes: without GOAWAY the next stream would come for a pod that is not there.
  for (Tunnel* tunnel : slots_.Tunnels()) {
    if (tunnel->pod_idx() == pod_idx) tunnel->Retire();
  }
  if (cut) {
    for (Connection* connection : slots_.Connections()) {
      if (connection->pod_idx() == pod_idx) connection->Finish(CloseCause::kDrained);
    }
    for (Tunnel* tunnel : slots_.Tunnels()) {
      if (tunnel->pod_idx() == pod_idx) tunnel->End(CloseCause::kDrained, 0, "");
    }
  }
  if (!in_turn_) loop_.Again();
}

void Engine::SetFlowMap(int fd) {
  flow_map_.reset(fcntl(fd, F_DUPFD_CLOEXEC, 3));
}

void Engine::EmitPoolLow(uint32_t pod_idx, SocketKind kind, uint32_t count) {
  orlop_engine_event record{};
  record.type = ORLOP_ENGINE_POOL_LOW;
  record.pod_idx = pod_idx;
  record.kind = static_cast<uint32_t>(kind);
  record.detail = static_cast<int32_t>(count);
  events_.Emit(record);
}

}  // namespace orlop
