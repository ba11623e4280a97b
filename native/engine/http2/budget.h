// 11 · data thread · how much of each nuisance the peer of a session may cause (docs/reference/failures.md, rows A1 to A4).
#pragma once

#include "engine/http2/token_bucket.h"

namespace orlop {

// What costs the peer as much as us is not budgeted: one thread takes 20,000 CONNECTs a second.
struct Budget {
  TokenBucket control{200, 50};                // PING, SETTINGS, PRIORITY, unknown types
  TokenBucket empty_data{200, 50};             // DATA without payload or end
  TokenBucket window_updates{20'000, 20'000};  // a peer may send one per DATA frame it reads
  TokenBucket early_resets{1'000, 300};        // RST_STREAM before our answer: rapid reset
  TokenBucket resets{20'000, 50'000};          // RST_STREAM of streams that were answered
  TokenBucket provoked_resets{100, 20};        // RST_STREAM we had to send because of the peer
  TokenBucket stray_fields{262'144, 65'536};   // decoded bytes of header fields that no stream takes
};

}  // namespace orlop
