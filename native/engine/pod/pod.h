// data thread · what an engine holds for one pod.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/core/events.h"
#include "engine/pod/socket_pool.h"
#include "engine/relay/acceptor.h"

namespace orlop {

struct Pod {
  uint64_t netns_cookie = 0;
  int32_t identity = -1;
  std::unique_ptr<SocketPool> pools[kSocketKinds];
  std::vector<std::unique_ptr<Acceptor>> acceptors;
};

}  // namespace orlop
