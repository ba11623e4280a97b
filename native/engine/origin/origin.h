// 22 · data thread · where requests of a pod go, by a number that TypeScript gave it, and the connections to it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/core/arena.h"
#include "engine/core/list.h"
#include "engine/http/origin_source.h"
#include "engine/origin/connection_places.h"
#include "engine/origin/origin_connection.h"
#include "engine/origin/origin_session.h"
#include "engine/relay/upstream_route.h"

namespace orlop {

// Its list.
struct CappedOrigins;

struct Origin : Hook<CappedOrigins> {
  // It has ended a connection that was idle for so long.
  void Ended(uint64_t idle_ms) {
    // Down at once, up slowly: it may have several patiences.
    patience_ms = idle_ms < patience_ms ? idle_ms : patience_ms + patience_ms / 8 + 1;
  }
  // A connection that is idle for less is likely to be there when a request comes to its far end.
  uint64_t trusted_ms() const { return patience_ms / 2; }

  // A connection that has carried so many requests carries no other.
  bool Wears(uint32_t requests) const { return pool.most_requests > 0 && requests >= pool.most_requests; }
  ConnectionCap cap() const { return {pool.key, pool.most_open, pool.most_waiting}; }
  bool capped() const { return pool.most_open > 0; }
  // Its requests that wait are counted.
  bool counts_waiting() const { return pool.key != 0; }
  uint64_t idle_ms() const { return pool.idle_ms > 0 ? pool.idle_ms : 60'000; }

  uint32_t number = 0;
  uint32_t pod_idx = 0;
  UpstreamRoute route;
  orlop_origin_pool pool = {};
  List<OriginConnection, OfOrigin> all;
  List<OriginConnection, IdleAtOrigin> idle;  // the longest idle first
  size_t idle_count = 0;
  List<OriginSession, SessionOfOrigin> sessions;
  List<StreamWaiter, StreamWaiter> waiting;  // for a stream, the longest first
  uint64_t patience_ms = 2'000;              // shorter than that of most servers, until it shows its own
};

}  // namespace orlop
