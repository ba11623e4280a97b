// data thread · what an engine counts; agent/engine/engine.ts has the names.
#pragma once

#include <cstdint>

namespace orlop {

struct Stats {
  int64_t connections = 0;
  int64_t tunnels = 0;
  int64_t streams = 0;  // filled in by Engine::stats
  int64_t handshakes = 0;
  uint64_t shed = 0;
  uint64_t accepted = 0;
  uint64_t batches = 0;
  uint64_t slowed = 0;         // times that a tunnel's peer was not read for a while
  uint32_t most_work = 0;      // of one tunnel in one turn (http2/toll.h)
  uint32_t most_requests = 0;  // likewise
};

}  // namespace orlop
