// data thread · pods by index.
#include "engine/pod/pods.h"

#include <iterator>
#include <utility>

#include "engine/core/services.h"

namespace orlop {
namespace {

// Drops the pools of sockets that nobody waits for. False: no pool is left.
bool KeepWaiting(Pod& pod) {
  bool any = false;
  for (auto& pool : pod.pools) {
    if (pool && pool->waited_for()) {
      any = true;
    } else {
      pool.reset();
    }
  }
  return any;
}

}  // namespace

void Pods::Set(uint32_t pod_idx, uint64_t netns_cookie, int32_t identity) {
  auto& pod = pods_[pod_idx];
  if (!pod) pod = TakeWaiting(pod_idx, netns_cookie);
  if (!pod) pod = std::make_unique<Pod>();
  pod->netns_cookie = netns_cookie;
  pod->identity = identity;
}

// Null: nothing waits for a socket of that namespace. The index may mean another pod by now.
std::unique_ptr<Pod> Pods::TakeWaiting(uint32_t pod_idx, uint64_t netns_cookie) {
  const auto found = waiting_.find(pod_idx);
  if (found == waiting_.end()) return nullptr;
  std::unique_ptr<Pod> pod = std::move(found->second);
  waiting_.erase(found);
  if (pod->netns_cookie != netns_cookie) return nullptr;
  for (auto& pool : pod->pools) {
    if (pool) pool->AskNow();
  }
  return pod;
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

void Pods::Remove(uint32_t pod_idx, bool keep_waiting) {
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    it = KeepWaiting(*it->second) ? std::next(it) : waiting_.erase(it);
  }
  const auto found = pods_.find(pod_idx);
  if (found == pods_.end()) return;
  StopAcceptingFor(*found->second);
  if (keep_waiting && KeepWaiting(*found->second)) waiting_[pod_idx] = std::move(found->second);
  pods_.erase(found);
}

void Pods::Clear() {
  pods_.clear();
  waiting_.clear();
}

void Pods::StopAccepting() {
  for (auto& [pod_idx, pod] : pods_) StopAcceptingFor(*pod);
}

}  // namespace orlop
