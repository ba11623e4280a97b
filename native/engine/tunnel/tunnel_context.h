// 10, 11 · data thread · what every tunnel of an engine is given.
#pragma once

namespace orlop {

struct EngineServices;
class SocketSource;
struct TunnelTimes;

struct TunnelContext {
  const EngineServices& services;
  SocketSource& sockets;
  const TunnelTimes& times;
};

}  // namespace orlop
