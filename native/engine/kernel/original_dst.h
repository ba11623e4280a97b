// 5 · data thread · what a captured connection was meant for: read once from the map dst_of_flow, and deleted.
#pragma once

#include <cstdint>

#include "engine/core/endpoint.h"
#include "shared/unique_fd.h"

namespace orlop {

class OriginalDestinations {
 public:
  // Duplicates `map_fd`, the lent dst_of_flow.
  void SetMap(int map_fd);
  // `listener`: where the connection met ours, its local address. False: the kernel knows of no such flow; the caller refuses.
  bool Take(uint64_t netns_cookie, const Endpoint& source, const Endpoint& listener,
            Endpoint* destination) const;

 private:
  UniqueFd map_;
};

}  // namespace orlop
