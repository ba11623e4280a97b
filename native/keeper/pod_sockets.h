// keeper · sockets made in the calling thread's namespace. Results are 0 or -errno, with the failing call
// in `step`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shared/unique_fd.h"

namespace orlop {

struct NamespaceInfo {
  uint64_t cookie = 0;
  std::vector<std::string> addresses;
};

enum class SocketKind { kOut4, kOut6, kLocal4, kLocal6 };

int ReadNamespace(NamespaceInfo* info, std::string* step);

// Each is tagged in the map `tags` (dst_of_sock) as the agent's, before anybody can use it.
int MakeListener(int tags, const std::string& address, uint16_t port, bool transparent, UniqueFd* out,
                 std::string* step);
// As many as `out` has room for.
int MakeSockets(int tags, SocketKind kind, std::vector<UniqueFd>* out, std::string* step);

}  // namespace orlop
