// 11 · data thread · how much of each nuisance a peer may cause (docs/reference/failures.md, rows A1 to A4). All connections of the
// peer share it, so that neither another connection nor the next refills it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/http2/token_bucket.h"

namespace orlop {

// What costs the peer as much as us has no bucket: the work of a turn bounds it (toll.h).
struct Budget {
  TokenBucket handshakes{500, 200};            // of TLS, of one address
  TokenBucket key_updates{100, 10};            // and other messages of TLS after the handshake
  TokenBucket control{200, 50};                // PING, SETTINGS, PRIORITY, unknown types
  TokenBucket empty_data{200, 50};             // DATA without payload or end
  TokenBucket window_updates{20'000, 20'000};  // and one for each 512 bytes of DATA that the peer was sent
  TokenBucket early_resets{1'000, 300};        // RST_STREAM before our answer: rapid reset
  TokenBucket resets{20'000, 50'000};          // RST_STREAM of streams that were answered
  TokenBucket provoked_resets{100, 20};        // RST_STREAM we had to send because of the peer
  TokenBucket stray_fields{262'144, 65'536};   // decoded bytes of header fields that no stream takes

  // When the peer last began to cause more than that, and until when it has to wait for it. After a second in which it had not to
  // wait it begins anew.
  uint64_t short_since_ms = 0;
  uint64_t short_until_ms = 0;
  void FellShort(uint64_t now_ms, uint64_t wait_ms) {
    if (!FellShortLately(now_ms)) short_since_ms = now_ms;
    short_until_ms = std::max(short_until_ms, now_ms + wait_ms);
  }
  bool FellShortLately(uint64_t now_ms) const { return now_ms <= short_until_ms + 1'000; }
};

}  // namespace orlop
