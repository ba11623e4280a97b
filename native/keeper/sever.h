// pod thread · ends connections that joined two pods of this node, once they are no longer allowed.
#pragma once

#include <cstdint>
#include <string>

namespace orlop {

// Ends every connection that a pod in the calling thread's namespace dialled past the agent (JOINED in the
// map `socks`, dst_of_sock) and of which the map `pairs` (pair_verdict) says END. Needs no memory of what was
// opened: it asks the kernel for all sockets. 0 or -errno, with the failing call in `step`.
int Sever(int socks, int pairs, uint32_t* ended, std::string* step);

}  // namespace orlop
