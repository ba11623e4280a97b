// any thread · the process's budget of descriptors: at 90 % of RLIMIT_NOFILE new connections are shed.
#pragma once

#include <cstdint>

namespace orlop {

// Every descriptor the engines own is counted here, whichever thread opened it.
void CountOpened();
// close(2), counted; a reset instead of a FIN when `reset`.
void CloseCounted(int fd, bool reset);
// True when another connection (two descriptors) would eat into the reserve of admin, keeper and logs.
bool DescriptorsShort();
int64_t OpenDescriptors();

}  // namespace orlop
