// data thread · pods by index.
#include "engine/pod/pods.h"

#include <utility>

#include "engine/core/services.h"

namespace orlop {

void Pods::Set(uint32_t pod_idx, uint64_t netns_cookie, int32_t identity) {
  auto& pod = pods_[pod_idx];
  if (!pod) pod = std::make_unique<Pod>();
  pod->netns_cookie = netns_cookie;
  pod->identity = identity;
}

Pod* Pods::Find(uint32_t pod_idx) const {
  const auto found = pods_.find(pod_idx);
  return found == pods_.end() ? nullptr : found->second.get();
}

SocketPool* Pods::PoolOf(uint32_t pod_idx, SocketKind kind) {
  Pod* pod = Find(pod_idx);
  if (!pod) return nullptr;
  auto& pool = pod->pools[static_cast<uint32_t>(kind)];
  if (!pool) pool = std::make_unique<SocketPool>(services_, pod_idx, kind);
  return pool.get();
}

bool Pods::AddSocket(uint32_t pod_idx, SocketKind kind, Descriptor fd) {
  SocketPool* pool = PoolOf(pod_idx, kind);
  if (pool) pool->Add(std::move(fd));
  return pool != nullptr;
}

bool Pods::Draw(uint32_t pod_idx, SocketKind kind, SocketWaiter* waiter) {
  SocketPool* pool = PoolOf(pod_idx, kind);
  if (pool) pool->Draw(waiter);
  return pool != nullptr;
}

// Events of this turn may name an acceptor still, so it is deleted when the turn is over.
void Pods::StopAcceptingFor(Pod& pod) {
  for (auto& acceptor : pod.acceptors) {
    acceptor->Stop();
    services_.turn.Bury(acceptor.release());
  }
  pod.acceptors.clear();
}

void Pods::Remove(uint32_t pod_idx) {
  const auto found = pods_.find(pod_idx);
  if (found == pods_.end()) return;
  StopAcceptingFor(*found->second);
  pods_.erase(found);
}

void Pods::StopAccepting() {
  for (auto& [pod_idx, pod] : pods_) StopAcceptingFor(*pod);
}

}  // namespace orlop
