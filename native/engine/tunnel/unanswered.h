// 10 · data thread · how many CONNECTs a pod has abandoned at each destination that have no answer yet, over all tunnels between the
// two. Each destination is counted by itself, so that a peer that withholds its answers uses up nothing but its own count.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "engine/core/endpoint.h"
#include "engine/core/list.h"
#include "engine/tunnel/tunnel_key.h"
#include "engine/tunnel/unanswered_waiter.h"

namespace orlop {

class Unanswered {
 public:
  // Of one pod at one destination, on one data thread. Beyond, the pod's new connections to that destination wait.
  static constexpr uint32_t kMost = 256;

  void Add(uint32_t pod_idx, const Endpoint& to) {
    counts_[{pod_idx, to}].abandoned++;
    total_++;
  }
  void Remove(uint32_t pod_idx, const Endpoint& to) {
    const auto found = counts_.find({pod_idx, to});
    if (found == counts_.end()) return;
    total_--;
    // The waiters are called last: they may abandon others, and answer for others.
    Waiting waiting;
    if (--found->second.abandoned < kMost) waiting.TakeAll(&found->second.waiting);
    if (found->second.abandoned == 0) counts_.erase(found);
    while (UnansweredWaiter* waiter = waiting.PopFront()) waiter->OnFewerUnanswered();
  }
  bool Full(uint32_t pod_idx, const Endpoint& to) const {
    if (total_ < kMost) return false;
    const auto found = counts_.find({pod_idx, to});
    return found != counts_.end() && found->second.abandoned >= kMost;
  }
  // It is full. `waiter` is called once when it no longer is, unless it has left before; it may wait already.
  void Wait(uint32_t pod_idx, const Endpoint& to, UnansweredWaiter* waiter) {
    if (!waiter->linked()) counts_[{pod_idx, to}].waiting.PushBack(waiter);
  }
  // Of all pods.
  size_t total() const { return total_; }

 private:
  using Waiting = List<UnansweredWaiter, UnansweredWaiter>;
  struct Count {
    uint32_t abandoned = 0;
    Waiting waiting;  // empty below kMost
  };
  // The identities are left out of the key: the same peer answers whatever we call ourselves.
  std::unordered_map<TunnelKey, Count, TunnelKeyHash> counts_;
  size_t total_ = 0;
};

}  // namespace orlop
