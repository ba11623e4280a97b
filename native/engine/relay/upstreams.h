// 13 · data thread · where the other side of a connection comes from.
#pragma once

namespace orlop {

class OriginSource;
class SocketSource;
class SourcePorts;
class TunnelPool;

struct Upstreams {
  SocketSource& sockets;
  TunnelPool& tunnels;
  SourcePorts& source_ports;
  OriginSource& origins;
};

}  // namespace orlop
