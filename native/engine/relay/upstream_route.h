// 22 · data thread · how the far side of a connection is reached, where no answer to it says so.
#pragma once

#include <cstdint>
#include <string>

#include "engine/core/endpoint.h"
#include "engine/core/events.h"

namespace orlop {

struct UpstreamRoute {
  OriginWay way = OriginWay::kRelay;
  Endpoint to;
  Endpoint from;  // of kDial, when has_from
  bool has_from = false;
  uint32_t dials_in = 0;  // the pod in whose namespace it dials
  int32_t identity = -1;  // of kTunnel, with the rest
  int32_t expect = -1;
  std::string authority, baggage, forwarded;
};

}  // namespace orlop
