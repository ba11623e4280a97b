// 10 · data thread · all tunnels of one key, and the connections that wait for the next of them.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "engine/core/list.h"
#include "engine/core/timer.h"
#include "engine/tunnel/backoff.h"
#include "engine/tunnel/tunnel_key.h"
#include "engine/tunnel/tunnel_owner.h"
#include "engine/tunnel/tunnel_waiter.h"
#include "engine/tunnel/unanswered_waiter.h"

namespace orlop {

class TunnelPool;
struct EngineServices;
struct TunnelContext;
struct TunnelTimes;
class Unanswered;

class TunnelGroup final : public TunnelOwner, public UnansweredWaiter {
 public:
  TunnelGroup(TunnelPool& pool, const TunnelContext& context, const TunnelKey& key);
  const TunnelKey key;

  // Calls waiter->OnTunnelReady or OnTunnelFailed, now or later.
  void Request(TunnelWaiter* waiter);
  const std::vector<Tunnel*>& open() const { return open_; }

  // TunnelOwner.
  void OnTunnelOpen(Tunnel& tunnel) override;
  void OnTunnelRoom(Tunnel&) override { ServeWaiting(); }
  void OnTunnelRefused(Tunnel&) override { Pause(); }
  void OnTunnelAnswered(Tunnel&) override { backoff_.Worked(); }
  void OnTunnelRetired(Tunnel& tunnel) override;
  void OnTunnelEnded(Tunnel& tunnel, CloseCause cause, int detail, std::string_view message) override;
  // UnansweredWaiter.
  void OnFewerUnanswered() override { ServeWaiting(); }

 private:
  // Null: dial another.
  Tunnel* Choose() const;
  Tunnel* WithRoom(bool beside_heavy) const;
  // The peer owes too many answers to CONNECTs that applications of this pod have given up: here, or over all tunnels to it.
  bool OwedTooMuch() const;
  bool OwedHere() const;
  void AwaitOwed();
  // A tunnel that will say soon whether it takes more.
  bool AnyUnsure() const;
  void Dial();
  void ServeWaiting();
  void OnWake();
  // What waits has waited long enough for the answers that the peer owes.
  void OnOwed();
  // The peer has refused: neither streams nor dials for a while.
  void Pause();
  // Nothing waits. Without a tunnel the group is forgotten.
  void Rest();
  // No tunnel, and no connection waits.
  bool Idle() const { return open_.empty() && !dialling_ && waiting_.empty(); }
  TunnelPool& pool_;
  const EngineServices& services_;
  const TunnelTimes& times_;
  Unanswered& unanswered_;
  Backoff backoff_;
  Timer wake_;  // when the pause is over, or an idle group is forgotten
  Timer owed_;  // what waits for answers that the peer owes is refused
  std::vector<Tunnel*> open_;
  Tunnel* dialling_ = nullptr;
  List<TunnelWaiter, TunnelWaiter> waiting_;
};

}  // namespace orlop
