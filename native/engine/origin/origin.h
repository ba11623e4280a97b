// 22 · data thread · where requests of a pod go, by a number that TypeScript gave it, and the connections to it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/core/list.h"
#include "engine/origin/origin_connection.h"
#include "engine/relay/upstream_route.h"

namespace orlop {

struct Origin {
  uint32_t number = 0;
  uint32_t pod_idx = 0;
  UpstreamRoute route;
  List<OriginConnection, OfOrigin> all;
  List<OriginConnection, IdleAtOrigin> idle;  // the longest idle first
  size_t idle_count = 0;
};

}  // namespace orlop
