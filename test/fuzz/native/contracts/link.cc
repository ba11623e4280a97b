// fuzz · what one session writes, the other reads.
#include "link.h"

#include <algorithm>

namespace orlop::contracts {
namespace {

// Negative: a session wants to end, or is slowed. 0: it had nothing to say.
int Carry(Side& from, Side& to, Random& random) {
  std::string frames;
  if (!Produce(from, &frames) || !from.session.violation().empty()) return -1;
  const auto* const bytes = reinterpret_cast<const uint8_t*>(frames.data());
  for (size_t at = 0; at < frames.size();) {
    const size_t part = std::min<size_t>(frames.size() - at, 1 + Below(random, 40'000));
    to.toll.Begin(to.turn++);
    size_t used = 0;
    if (!to.session.Receive(bytes + at, part, &used) || to.toll.waits()) return -1;
    at += used;
  }
  return frames.empty() ? 0 : 1;
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

bool Produce(Side& from, std::string* frames) {
  static uint8_t bytes[PartedRoom::BytesOf(8)];
  PartedRoom room(bytes, 8);
  if (!from.session.Produce(&room)) return false;
  const Pieces made = room.Whole();
  for (int i = 0; i < made.count; i++)
    frames->append(static_cast<const char*>(made.list[i].iov_base), made.list[i].iov_len);
  return true;
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
