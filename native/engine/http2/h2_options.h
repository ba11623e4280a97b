// 10, 11 · data thread · the limits of an HTTP/2 session; its user chooses them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/core/events.h"

namespace orlop {

struct H2Options {
  Role role = Role::kServer;
  // Bytes that the peer may send unread: on each stream, and on all together.
  uint32_t stream_window = 0;
  int32_t connection_window = 0;
  // And on a stream of the peer's until it is answered, at least 65,535: nobody reads what comes before. 0: `stream_window`.
  uint32_t unanswered_window = 0;
  // Bytes kept for slow readers of one session. Up to here the session's window is given back at once, so that the other
  // streams go on; beyond, all of them wait.
  size_t kept_most = 0;
  uint32_t max_frame = 0;
  // Streams that a client may open on us, and that we open on a server that allows more.
  uint32_t server_streams = 0;
  uint32_t client_streams = 0;
  // Decoded bytes of one block of fields, counted as RFC 9113 6.5.2 counts: 32 more for each field.
  size_t field_bytes = 0;
  // What of a block is read all the same; its stream may then answer that it is too much. 0: `field_bytes`.
  size_t field_bytes_read = 0;
  // Bytes of nghttp2's beyond which the session is crowded; 0: it never is.
  size_t memory_most = 0;
  // Streams are reset because somebody behind us has reset them. What the peer itself provokes is paid where it is found.
  bool passes_resets = false;
};

}  // namespace orlop
