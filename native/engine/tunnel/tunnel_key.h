// 10 · data thread · what two connections must have in common to share a tunnel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "engine/core/endpoint.h"

namespace orlop {

struct TunnelKey {
  uint32_t pod_idx = 0;  // whose connections: nothing is shared between pods
  Endpoint to;
  int32_t identity = -1;  // our own
  int32_t expect = -1;    // the set of peers that are acceptable
  bool operator==(const TunnelKey& other) const {
    return pod_idx == other.pod_idx && to == other.to && identity == other.identity && expect == other.expect;
  }
};

struct TunnelKeyHash {
  size_t operator()(const TunnelKey& key) const {
    uint64_t halves[2];
    memcpy(halves, key.to.addr.bytes, sizeof halves);
    uint64_t hash = halves[0] ^ (halves[1] * 0x9e3779b97f4a7c15ULL);
    hash ^= (static_cast<uint64_t>(key.pod_idx) << 32 | key.to.port) * 0xff51afd7ed558ccdULL;
    hash ^= (static_cast<uint64_t>(static_cast<uint32_t>(key.identity)) << 32 |
             static_cast<uint32_t>(key.expect)) *
            0xc4ceb9fe1a85ec53ULL;
    return hash ^ (hash >> 29);
  }
};

}  // namespace orlop
