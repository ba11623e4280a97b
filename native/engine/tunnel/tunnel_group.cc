// 10 · data thread · which tunnel a connection gets: the fullest, so that those no longer needed fall idle and end; but not
// beside a stream that fills its tunnel.
#include "engine/tunnel/tunnel_group.h"

#include <algorithm>

#include "engine/tunnel/tunnel.h"
#include "engine/tunnel/tunnel_pool.h"

namespace orlop {
namespace {

// Tunnels of one key that heavy streams may cause; beyond, they share.
constexpr size_t kTunnelsForHeavy = 4;

}  // namespace

Tunnel* TunnelGroup::WithRoom(bool beside_heavy) const {
  for (Tunnel* tunnel : open_) {
    if ((beside_heavy || !tunnel->heavy()) && tunnel->session().Room() > 0) return tunnel;
  }
  return nullptr;
}

Tunnel* TunnelGroup::Choose() const {
  Tunnel* light = WithRoom(false);
  if (light || open_.size() < kTunnelsForHeavy) return light;
  return WithRoom(true);
}

void TunnelGroup::Request(TunnelWaiter* waiter) {
  if (Tunnel* tunnel = Choose()) return waiter->OnTunnelReady(*tunnel);
  waiting_.PushBack(waiter);
  if (!dialling_) Dial();
}

void TunnelGroup::Dial() {
  dialling_ = pool_.NewTunnel(*this);
  dialling_->Dial(key.expect);
}

void TunnelGroup::OnTunnelOpen(Tunnel& tunnel) {
  dialling_ = nullptr;
  open_.push_back(&tunnel);
  ServeWaiting();
}

void TunnelGroup::ServeWaiting() {
  while (!waiting_.empty()) {
    Tunnel* tunnel = Choose();
    if (!tunnel) break;
    waiting_.PopFront()->OnTunnelReady(*tunnel);
  }
  if (!waiting_.empty() && !dialling_) Dial();
}

// The group may be gone when this returns.
void TunnelGroup::OnTunnelRetired(Tunnel& tunnel) {
  open_.erase(std::remove(open_.begin(), open_.end(), &tunnel), open_.end());
  if (dialling_ == &tunnel) dialling_ = nullptr;
  if (!waiting_.empty() && !dialling_) return Dial();
  if (open_.empty() && !dialling_ && waiting_.empty()) pool_.Erase(key);
}

void TunnelGroup::OnTunnelEnded(Tunnel& tunnel, CloseCause cause, int detail, std::string_view message) {
  if (dialling_ == &tunnel) {
    // All that waited for this dial share its outcome, unless another tunnel is open and merely busy. The next request dials anew.
    dialling_ = nullptr;
    List<TunnelWaiter, TunnelWaiter> waiting;
    waiting.TakeAll(&waiting_);
    while (TunnelWaiter* waiter = waiting.PopFront()) {
      if (Tunnel* other = WithRoom(true)) {
        waiter->OnTunnelReady(*other);
      } else {
        waiter->OnTunnelFailed(cause, detail, message);
      }
    }
  }
  OnTunnelRetired(tunnel);
}

}  // namespace orlop
