// 10, 11 · data thread · what every tunnel of an engine is given.
#pragma once

namespace orlop {

struct EngineServices;
class PeerBudgets;
class SocketSource;
struct TunnelTimes;
class Unanswered;

struct TunnelContext {
  const EngineServices& services;
  SocketSource& sockets;
  const TunnelTimes& times;
  Unanswered& unanswered;
  PeerBudgets& budgets;
};

}  // namespace orlop
