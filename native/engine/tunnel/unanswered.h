// 10 · data thread · how many CONNECTs of each pod were abandoned and have no answer yet, over all tunnels of the pod.
#pragma once

#include <cstdint>
#include <unordered_map>

namespace orlop {

class Unanswered {
 public:
  // Of one pod on one data thread.
  static constexpr uint32_t kMost = 256;

  void Add(uint32_t pod_idx) { counts_[pod_idx]++; }
  void Remove(uint32_t pod_idx) {
    const auto found = counts_.find(pod_idx);
    if (found != counts_.end() && --found->second == 0) counts_.erase(found);
  }
  bool Full(uint32_t pod_idx) const {
    if (counts_.empty()) return false;
    const auto found = counts_.find(pod_idx);
    return found != counts_.end() && found->second >= kMost;
  }

 private:
  std::unordered_map<uint32_t, uint32_t> counts_;
};

}  // namespace orlop
