// 22 · data thread · a request of which copies are sent: the same for all of them, and what of a copy is its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/core/events.h"
#include "engine/http/http1_kept_head.h"
#include "engine/http/mirror_room.h"

namespace orlop {

struct MirroredRequest {
  MirroredRequest(MirrorRoom& from, uint32_t pod) : room(from), pod_idx(pod) {}
  ~MirroredRequest() { room.Release(pod_idx, held); }
  MirroredRequest(const MirroredRequest&) = delete;
  MirroredRequest& operator=(const MirroredRequest&) = delete;

  MirrorRoom& room;
  const uint32_t pod_idx;
  HttpProtocol protocol = HttpProtocol::kHttp1;
  bool is_https = false;  // as `:scheme` says, of HTTP/2
  Http1KeptHead head;     // as the caller sent it
  std::string body;       // payload, without chunk lines or frames
  size_t held = 0;        // bytes that it takes of `room`
};

// Texts are the answer's.
struct MirrorTarget {
  uint32_t origin = 0;
  std::string target, authority, edits;
  bool without_proxy_headers = false;
};

}  // namespace orlop
