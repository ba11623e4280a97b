// 13 · data thread · where the other side of a connection comes from.
#pragma once

namespace orlop {

class SocketSource;
class TunnelPool;

struct Upstreams {
  SocketSource& sockets;
  TunnelPool& tunnels;
};

}  // namespace orlop
