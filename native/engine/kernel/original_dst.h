// 5 · data thread · what a captured connection was meant for: read once from dst_of_flow, and deleted.
#pragma once

#include <cstdint>

#include "engine/core/endpoint.h"

namespace orlop {

// False: the kernel knows of no such flow; the caller refuses. `map_fd` is the lent dst_of_flow.
bool TakeOriginalDestination(int map_fd, uint64_t netns_cookie, const Endpoint& source,
                             Endpoint* destination);

}  // namespace orlop
