// 10, 11 · data thread · deadlines of open tunnels, in milliseconds.
#pragma once

#include <cstdint>

namespace orlop {

struct TunnelTimes {
  uint64_t ping_every = 10'000;
  uint64_t ping_answer = 20'000;  // also how long a peer may owe the answer to an abandoned CONNECT
  uint64_t owed = 1'000;        // for which connections wait while their peer owes too many of these answers
  uint64_t idle = 300'000;      // without a stream; then the side that dialled ends it
  uint64_t patience = 10'000;   // for a peer that goes on to cause more than its budget
  uint64_t served_on = 30'000;  // and its open streams, when that was over
};

}  // namespace orlop
