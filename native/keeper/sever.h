// keeper · ends connections that nobody sits in between of, once they are no longer allowed.
#pragma once

#include <cstdint>
#include <string>

namespace orlop {

// What the hooks keep, by descriptor: dst_of_sock, pair_verdict, in_by_port, out_by_dst.
struct SeverMaps {
  int socks;
  int pairs;
  int plaintext;
  int destinations;
};

// Ends every connection that a pod in the calling thread's namespace dialled past the agent (JOINED) and of
// which pair_verdict says END; and every plaintext connection that its application accepted past the agent
// and that in_by_port would not let pass now; and every connection that went direct (OUTSIDE) to a destination
// that out_by_dst has now. Needs no memory of what was opened: it asks the kernel for all
// sockets. 0 or -errno, with the failing call in `step`.
int Sever(const SeverMaps& maps, uint32_t* ended, std::string* step);

// Ends every connection in the calling thread's namespace that bypasses the agent according to `socks`, the
// dst_of_sock of another layout version: joined to a pod of the node, or plaintext that was let pass. Nobody
// judges them once that map is gone.
int EndMarked(int socks, uint32_t* ended, std::string* step);

}  // namespace orlop
