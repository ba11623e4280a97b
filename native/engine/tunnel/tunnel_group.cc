// 10 · data thread · which tunnel a connection gets: the fullest, so that those no longer needed fall idle and end; but not
// beside a stream that fills its tunnel.
#include "engine/tunnel/tunnel_group.h"

#include <algorithm>

#include "engine/core/services.h"
#include "engine/tunnel/tunnel.h"
#include "engine/tunnel/tunnel_context.h"
#include "engine/tunnel/tunnel_pool.h"
#include "engine/tunnel/tunnel_times.h"
#include "engine/tunnel/unanswered.h"

namespace orlop {
namespace {

// Tunnels of one key that heavy streams may cause; beyond, they share.
constexpr size_t kTunnelsForHeavy = 4;
// Abandoned CONNECTs that are always allowed, however few streams the peer takes.
constexpr uint32_t kLeastAbandoned = 8;
// An idle group is kept so long, for what it knows of the peer's refusals.
constexpr uint64_t kForgetMs = 1'000;

}  // namespace

TunnelGroup::TunnelGroup(TunnelPool& pool, const TunnelContext& context, const TunnelKey& key)
    : key(key),
      pool_(pool),
      services_(context.services),
      times_(context.times),
      unanswered_(context.unanswered),
      wake_([](void* self) { static_cast<TunnelGroup*>(self)->OnWake(); }, this),
      owed_([](void* self) { static_cast<TunnelGroup*>(self)->OnOwed(); }, this) {}

Tunnel* TunnelGroup::WithRoom(bool beside_heavy) const {
  for (Tunnel* tunnel : open_) {
    if ((beside_heavy || !tunnel->heavy()) && tunnel->Room() > 0) return tunnel;
  }
  return nullptr;
}

Tunnel* TunnelGroup::Choose() const {
  Tunnel* light = WithRoom(false);
  if (light || open_.size() < kTunnelsForHeavy) return light;
  return WithRoom(true);
}

bool TunnelGroup::OwedTooMuch() const {
  return OwedHere() || unanswered_.Full(key.pod_idx, key.to);
}

bool TunnelGroup::OwedHere() const {
  uint32_t abandoned = 0;
  uint32_t most = kLeastAbandoned;
  for (const Tunnel* tunnel : open_) {
    if (tunnel->abandoned() == 0) continue;
    abandoned += tunnel->abandoned();
    most = std::max(most, tunnel->MostAbandoned());
  }
  return abandoned >= most;
}

bool TunnelGroup::AnyUnsure() const {
  return std::any_of(open_.begin(), open_.end(), [](const Tunnel* tunnel) { return tunnel->Unsure(); });
}

void TunnelGroup::Request(TunnelWaiter* waiter) {
  if (waiting_.empty() && !OwedTooMuch() && !backoff_.Waits(services_.clock.now_ms())) {
    if (Tunnel* tunnel = Choose()) return waiter->OnTunnelReady(*tunnel);
  }
  waiting_.PushBack(waiter);
  ServeWaiting();
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
  if (waiting_.empty()) return Rest();
  if (OwedTooMuch()) return AwaitOwed();
  owed_.Cancel();
  const uint64_t now = services_.clock.now_ms();
  if (backoff_.Waits(now)) return services_.pauses.Start(&wake_, backoff_.until_ms() - now);
  while (!waiting_.empty()) {
    Tunnel* tunnel = Choose();
    if (!tunnel) break;
    waiting_.PopFront()->OnTunnelReady(*tunnel);
  }
  if (!waiting_.empty() && !dialling_ && !AnyUnsure()) Dial();
}

// Neither a stream nor another tunnel, however many have room: what is abandoned on it would be owed as well.
void TunnelGroup::AwaitOwed() {
  if (unanswered_.Full(key.pod_idx, key.to)) unanswered_.Wait(key.pod_idx, key.to, this);
  if (!owed_.armed()) services_.timers.Start(&owed_, times_.owed);
}

void TunnelGroup::Rest() {
  owed_.Cancel();
  if (Idle()) services_.pauses.Start(&wake_, kForgetMs);
}

void TunnelGroup::Pause() {
  backoff_.Failed(services_.clock.now_ms(), pool_.Random());
}

void TunnelGroup::OnWake() {
  if (Idle()) return pool_.Erase(key);
  ServeWaiting();
}

void TunnelGroup::OnOwed() {
  List<TunnelWaiter, TunnelWaiter> waiting;
  waiting.TakeAll(&waiting_);
  while (TunnelWaiter* waiter = waiting.PopFront())
    waiter->OnTunnelFailed(CloseCause::kUnanswered, 0, "", false);
  if (waiting_.empty()) Rest();
}

void TunnelGroup::OnTunnelRetired(Tunnel& tunnel) {
  open_.erase(std::remove(open_.begin(), open_.end(), &tunnel), open_.end());
  if (dialling_ == &tunnel) dialling_ = nullptr;
  // A peer that opens tunnels and serves nothing on them is dialled as slowly as if it refused them.
  if (tunnel.fresh() && tunnel.streams() > 0) Pause();
  ServeWaiting();
}

void TunnelGroup::OnTunnelEnded(Tunnel& tunnel, CloseCause cause, int detail, std::string_view message) {
  if (dialling_ == &tunnel || !tunnel.session().settings_received()) {
    // All that waited for this dial share its outcome, unless another tunnel is open and merely busy. The next request dials anew.
    if (dialling_ == &tunnel) dialling_ = nullptr;
    open_.erase(std::remove(open_.begin(), open_.end(), &tunnel), open_.end());
    List<TunnelWaiter, TunnelWaiter> waiting;
    waiting.TakeAll(&waiting_);
    while (TunnelWaiter* waiter = waiting.PopFront()) {
      if (Tunnel* other = WithRoom(true)) {
        waiter->OnTunnelReady(*other);
      } else {
        waiter->OnTunnelFailed(cause, detail, message, tunnel.unheard());
      }
    }
  }
  OnTunnelRetired(tunnel);
}

}  // namespace orlop
