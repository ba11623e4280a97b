// fuzz · what one session writes, the other reads.
#include "link.h"

#include <algorithm>

namespace orlop::contracts {
namespace {

// Negative: a session wants to end, or is slowed. 0: it had nothing to say.
int Carry(Side& from, Side& to, Random& random) {
  static uint8_t frames[128 * 1024];
  const ssize_t length = from.session.Produce(frames, sizeof frames);
  if (length < 0 || !from.session.violation().empty()) return -1;
  for (ssize_t at = 0; at < length;) {
    const size_t part = std::min<size_t>(static_cast<size_t>(length - at), 1 + Below(random, 40'000));
    to.toll.Begin(to.turn++);
    size_t used = 0;
    if (!to.session.Receive(frames + at, part, &used) || to.toll.waits()) return -1;
    at += static_cast<ssize_t>(used);
  }
  return length > 0 ? 1 : 0;
}

}  // namespace

H2Options SmallOptions(Role role) {
  H2Options options;
  options.role = role;
  options.stream_window = 60'000;
  options.connection_window = 90'000;
  options.kept_most = 30'000;
  options.max_frame = 1 << 20;
  options.server_streams = 8;
  options.client_streams = 8;
  options.field_bytes = 8'192;
  return options;
}

bool Exchange(Side& one, Side& other, Random& random) {
  for (int said = 1; said > 0;) {
    const int there = Carry(one, other, random);
    const int back = Carry(other, one, random);
    if (there < 0 || back < 0) return false;
    said = there + back;
  }
  return true;
}

}  // namespace orlop::contracts
