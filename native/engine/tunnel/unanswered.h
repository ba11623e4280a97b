// 10 · data thread · how many CONNECTs a pod has abandoned at each destination that have no answer yet, over all tunnels between the
// two. Each destination is counted by itself, so that a peer that withholds its answers uses up nothing but its own count.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "engine/core/endpoint.h"
#include "engine/tunnel/tunnel_key.h"

namespace orlop {

class Unanswered {
 public:
  // Of one pod at one destination, on one data thread. Beyond, the pod's new connections to that destination are refused.
  static constexpr uint32_t kMost = 256;

  void Add(uint32_t pod_idx, const Endpoint& to) {
    counts_[{pod_idx, to}]++;
    total_++;
  }
  void Remove(uint32_t pod_idx, const Endpoint& to) {
    const auto found = counts_.find({pod_idx, to});
    if (found == counts_.end()) return;
    total_--;
    if (--found->second == 0) counts_.erase(found);
  }
  bool Full(uint32_t pod_idx, const Endpoint& to) const {
    if (total_ < kMost) return false;
    const auto found = counts_.find({pod_idx, to});
    return found != counts_.end() && found->second >= kMost;
  }
  // Of all pods.
  size_t total() const { return total_; }

 private:
  // The identities are left out of the key: the same peer answers whatever we call ourselves.
  std::unordered_map<TunnelKey, uint32_t, TunnelKeyHash> counts_;
  size_t total_ = 0;
};

}  // namespace orlop
