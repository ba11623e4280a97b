// 22 · data thread · where the open request of a served connection went, and what its answer asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "engine/core/no_end.h"
#include "engine/core/timer.h"
#include "engine/http/http1_failed_try.h"
#include "engine/http/mirror_copies.h"
#include "engine/http/origin_link.h"
#include "engine/http/origin_source.h"

namespace orlop {

struct Http1Route {
  Http1Route(OriginSource& from, Timer::Fire fire, void* self) : origins(from), deadline(fire, self) {}

  OriginSource& origins;
  OriginLink* link = nullptr;  // null: none is needed
  NoEnd nobody;
  uint32_t origin = 0;
  bool open = false;          // the link is
  bool over = false;          // the request that the link was taken for; the next may have begun
  bool whole = false;         // request and response have gone, and the origin goes on
  bool caller_ended = false;  // it has said all, and waits
  std::string replay;         // the request, while it may be sent again; empty: it may not
  std::string response_edits;
  // Whether TypeScript is asked about a try that fails.
  bool asks_unsent = false, asks_any = false;
  bool tried = false;                 // before, for this request
  size_t head_bytes = 0;              // of the request, as it was written
  std::unique_ptr<FailedTry> failed;  // null: the request is tried, or is over
  uint64_t try_began_us = 0;
  uint32_t answered_us = 0;  // from there to the response's head
  uint64_t try_ms = 0;
  uint64_t request_due_ms = 0;  // 0: never
  Timer deadline;
  std::unique_ptr<MirrorCopies> copies;  // null: none were asked for
};

}  // namespace orlop
